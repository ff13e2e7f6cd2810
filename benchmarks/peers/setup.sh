#!/usr/bin/env bash
# Make one virtual environment per peer: setup.sh [PEER ...]   (default: all of them)
#
# They go to ${DISPATCHGYM_PEERS:-.cache/peers}/PEER, a relative path counting from the repository root. A peer whose
# requirements file has not changed since its last complete installation is skipped at once.
# DISPATCHGYM_PEERS_PYTHON names the Python to use (default: python3).
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."
root="${DISPATCHGYM_PEERS:-.cache/peers}"
python="${DISPATCHGYM_PEERS_PYTHON:-python3}"
if [ "$#" -eq 0 ]; then
    set -- jumanji rl4co job_shop_lib jssenv
fi

install_peer() {
    local peer="$1" requirements="$here/requirements-$1.txt" venv="$root/$1" pip report
    if [ ! -f "$requirements" ]; then
        echo "unknown peer: $peer" >&2
        return 2
    fi
    if [ -x "$venv/bin/python" ] && cmp -s "$requirements" "$venv/requirements.done"; then
        echo "$peer: up to date in $venv"
        return
    fi
    echo "$peer: installing in $venv"
    "$python" -m venv "$venv"
    pip="$venv/bin/python -m pip --disable-pip-version-check -q install"
    if [ "$peer" = rl4co ]; then
        report="$(mktemp)"
        $pip --dry-run --report "$report" -r "$requirements" 2>&1 | { grep -v '^WARNING' || true; }
        if grep -Eq '"name": "(nvidia|cuda)-' "$report"; then
            rm -f "$report"
            echo "rl4co: pip would fetch a CUDA build of torch; install torch==2.13.0 for the CPU in $venv first" >&2
            return 1
        fi
        rm -f "$report"
    fi
    $pip -r "$requirements" 2>&1 | { grep -v '^WARNING' || true; }
    cp "$requirements" "$venv/requirements.done"
}

mkdir -p "$root"
for peer in "$@"; do
    install_peer "$peer"
done
