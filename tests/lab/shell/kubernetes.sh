#!/bin/sh
# Build Kubernetes 1.20.2 (with dockershim) from Debian's source package into $1, working in $2.
set -eu
out=$1
work=$2

rm -rf "$work"
mkdir -p "$work/parts" "$work/lists/partial" "$out"
# A private apt configuration: the machine's own sources stay as they are.
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$work/parts/src.sources"
else
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/parts/src.list"
fi
apt_src() {
    apt-get -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts" \
        -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root "$@"
}
apt_src update -q
cd "$work"
apt_src source -q kubernetes
cd "$work"/kubernetes-*/

# Its vendored reflect2 panics when built with Go >= 1.18; Debian ships one that does not.
rm -rf vendor/github.com/modern-go/reflect2
cp -a /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2

PATH=/usr/lib/go-1.19/bin:$PATH
export PATH GO111MODULE=off CGO_ENABLED=0 GOCACHE="$work/gocache"
export KUBE_GIT_VERSION=v1.20.2 KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean
export KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20
make WHAT="cmd/kubelet cmd/kubeadm cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler cmd/kubectl"

for name in kubelet kubeadm kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    strip -s -o "$out/$name" "_output/bin/$name"
done
cd /
rm -rf "$work"
