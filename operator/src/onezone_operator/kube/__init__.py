"""The only Kubernetes I/O: a narrow port over ``kubernetes.aio``, what a pass reads, and what it
writes. No decision is taken here.
"""

from onezone_operator.kube.client import KubeClient
from onezone_operator.kube.ports import KubeApi
from onezone_operator.kube.reader import KubeReader

__all__ = ["KubeApi", "KubeClient", "KubeReader"]
