"""A Kubernetes whose nodes are simulated: a real etcd, API server, controller manager and scheduler, and KWOK nodes.

Everything runs as a process on loopback, with ports and a folder of its own, beside any other cluster of the machine.
Pods start a moment after they are bound, report nothing, and end by themselves:

    with simulated_cluster(folder, nodes=5, audit=True) as cluster:
        cluster.url, cluster.kubeconfig          # the administrator's
        cluster.kubectl("get", "pods", "-A")     # CompletedProcess; raises ClusterError unless check=False
        cluster.service_account("ns", "name")    # kubeconfig of a ServiceAccount with every right, made on the way
        for event in cluster.audit(): ...        # audit events as JSON has them, in the order of the log
        cluster.processes["etcd"].stop()         # kill(), start(), pid, log; also "kube-apiserver",
                                                 # "kube-controller-manager", "kube-scheduler", "kwok"

`pods.py` says what a pod's annotations can make of it: how long it runs, with which exit code and message it ends.
"""

from .cluster import SimulatedCluster as SimulatedCluster
from .cluster import simulated_cluster as simulated_cluster
