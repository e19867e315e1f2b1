"""The only Kubernetes I/O: a narrow port over ``kubernetes.aio``, what a pass reads, and what it
writes. No decision is taken here.
"""

from onezone_operator.kube.cache import CachedKube
from onezone_operator.kube.client import KubeClient
from onezone_operator.kube.informer import WATCHED, Informers
from onezone_operator.kube.lease import LeaseClient
from onezone_operator.kube.ports import KubeApi
from onezone_operator.kube.reader import KubeReader
from onezone_operator.kube.store import Store

__all__ = [
    "WATCHED",
    "CachedKube",
    "Informers",
    "KubeApi",
    "KubeClient",
    "KubeReader",
    "LeaseClient",
    "Store",
]
