#!/usr/bin/env bash
# What a Kubernetes node and its control plane stand on: etcd, containerd, runc, CNI plugins. Debian's own versions are
# taken: Kubernetes speaks to them by stable interfaces.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/parts.d/common
source "$here/common"

provide node etcd=etcd-server containerd=containerd ctr=containerd runc=runc openssl=openssl unshare=util-linux \
    /usr/lib/cni/loopback=containernetworking-plugins

echo "etcd $(etcd --version | sed -n 's/^etcd Version: //p'): ready"
echo "containerd $(containerd --version | awk '{print $3}'): ready"
echo "runc $(runc --version | awk 'NR == 1 {print $3}'): ready"
