# Takes kube-router's rules out of a node's filter table, one by one: kube-proxy's stay, and may change meanwhile.
for chain in INPUT FORWARD OUTPUT; do
    iptables -S "$chain" | sed -n 's/^-A \(.*KUBE-ROUTER.*\)$/-D \1/p' | while read -r rule; do eval "iptables $rule"; done
done
chains=$(iptables -S | sed -n 's/^-N \(KUBE-\(ROUTER\|POD-FW\|NWPLCY\)-*[^ ]*\)$/\1/p')
for chain in $chains; do iptables -F "$chain"; done
for chain in $chains; do iptables -X "$chain"; done
iptables -t nat -S POSTROUTING | sed -n 's/^-A \(.*kindlab-own-addresses.*\)$/-D \1/p' | while read -r rule; do eval "iptables -t nat $rule"; done
