#!/bin/sh
# Install into $VENV with plain pip, or with uv when it is there.
# usage: PYTHON=python3 VENV=.venv UV=/path/to/uv-or-empty sh tools/install.sh runtime|dev
set -eu

fail() {
    echo "smgw: $1" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "python3 is missing: sudo apt-get install python3 python3-venv make"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, $("$PYTHON" --version) is here"

if [ ! -x "$VENV/bin/python" ]; then
    echo "making $VENV ..."
    if [ -n "$UV" ]; then
        "$UV" venv --quiet --python "$PYTHON" "$VENV"
    else
        "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "the venv module is missing: sudo apt-get install python3-venv"
        "$PYTHON" -m venv "$VENV"
    fi
fi

pip_install() {
    if [ -n "$UV" ]; then
        "$UV" pip install --quiet --python "$VENV/bin/python" "$@"
    else
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

case "$1" in
runtime)
    echo "installing smgw-emu into $VENV ..."
    pip_install -e .
    ;;
dev)
    echo "installing the tools for tests into $VENV ..."
    # pip learned --group (PEP 735) with 25.1; Debian's is older
    [ -n "$UV" ] || pip_install --upgrade 'pip>=25.1'
    pip_install --group dev
    ;;
*) fail "usage: tools/install.sh runtime|dev" ;;
esac
