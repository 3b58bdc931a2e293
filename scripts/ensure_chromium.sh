#!/usr/bin/env bash
# Make sure that a chromium is there for the browser checks: install Debian's where this account may, say so where not.
set -euo pipefail
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "test-browser needs chromium, and this account cannot install it: run 'apt-get install chromium' as root" >&2
  exit 1
fi
echo "installing Debian's chromium for the browser checks" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
