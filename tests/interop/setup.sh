#!/bin/sh
# Makes the Python environment of the interop tests: setup.sh DIRECTORY
set -eu
venv=${1:?the directory of the environment}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check 'kazoo==2.10.0'
