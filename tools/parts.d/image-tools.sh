#!/usr/bin/env bash
# What makes container images without an engine and a registry: umoci and skopeo, in Debian's own versions.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/parts.d/common
source "$here/common"

provide image-tools umoci=umoci skopeo=skopeo strip=binutils

echo "umoci $(umoci --version | awk '{print $3}'): ready"
echo "skopeo $(skopeo --version | awk '{print $3}'): ready"
