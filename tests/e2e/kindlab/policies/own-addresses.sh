# nodenet's pods show their node's address to pods of other nodes. Policies know pods by their own, as Kubernetes' model has it.
# What kube-proxy marks is masqueraded all the same: a pod that comes back to itself through a Service.
rule="POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -m mark ! --mark 0x4000/0x4000 -m comment --comment kindlab-own-addresses -j RETURN"
iptables -t nat -C $rule 2>/dev/null || iptables -t nat -I $rule
