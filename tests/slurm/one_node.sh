#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, that lives in a folder and listens on loopback alone.
#   one_node.sh up DIR     start munged, slurmctld and slurmd, and wait until the node takes jobs
#   one_node.sh env DIR    print what a shell needs to speak to it: eval "$(one_node.sh env DIR)"
#   one_node.sh down DIR   cancel what runs and stop the three
# Needs Debian's packages slurmctld, slurmd, slurm-client and munge, whose services may stay off.
# Nothing outside DIR is written, and several such clusters can run side by side.
set -euo pipefail

usage="usage: $0 up|env|down DIR"
what=${1:?$usage}
dir=$(readlink -m "${2:?$usage}")
# A Unix socket's path has at most 107 characters.
socket="$dir/munge.socket"
[ ${#socket} -le 107 ] || { echo "one_node.sh: $dir: too long a path for a socket" >&2; exit 1; }
PATH=$PATH:/usr/sbin

environment() {
  # Steps within a job are started without SLURM_*; the srun in bin/ gives them the file again.
  echo "export SLURM_CONF=$dir/slurm.conf PATH=$dir/bin:\$PATH"
}

free_ports() {
  python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(server.getsockname()[1] for server in held))
PYTHON
}

configure() {
  local host user cores memory ports
  host=$(hostname -s) user=$(id -un) cores=$(nproc)
  memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  read -r -a ports <<<"$(free_ports 2)"
  cat >"$dir/slurm.conf" <<CONF
ClusterName=one_node
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$socket
SlurmUser=$user
SlurmdUser=$user
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
# Nothing that needs a kernel's or a service manager's help.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/jobs.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
KillWait=2
# How long squeue shows what has ended; Snakemake asks it.
MinJobAge=600
ReturnToService=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory Gres=gpu:2
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
  # Slurm wants a device behind every GPU; two that are on every machine stand for them.
  printf "NodeName=%s Name=gpu File=%s\n" "$host" /dev/null "$host" /dev/zero >"$dir/gres.conf"
  printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$dir/cgroup.conf"
  printf '#!/bin/sh\nexport SLURM_CONF=%s\nexec %s "$@"\n' "$dir/slurm.conf" "$(command -v srun)" \
    >"$dir/bin/srun"
  chmod +x "$dir/bin/srun"
}

up() {
  mkdir -p "$dir"/{bin,state,spool}
  chmod 755 "$dir"
  [ -s "$dir/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$dir/munge.key")
  configure
  # --force: folders above DIR may be writable by others, as /tmp is.
  munged --force --socket="$socket" --key-file="$dir/munge.key" --pid-file="$dir/munged.pid" \
    --seed-file="$dir/munge.seed" --log-file="$dir/munged.log" 2>"$dir/munged.err"
  eval "$(environment)"
  slurmctld -c
  slurmd -c
  for _ in $(seq 150); do
    [ "$(sinfo --noheader --format=%T 2>/dev/null)" != idle ] || return 0
    sleep 0.2
  done
  echo "one_node.sh: the node takes no jobs:" >&2
  tail -n 20 "$dir"/*.log >&2
  down
  exit 1
}

down() {
  eval "$(environment)"
  scancel --user="$(id -un)" 2>/dev/null || true
  local pid
  for service in slurmd slurmctld munged; do
    pid=$(cat "$dir/$service.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
  done
}

case $what in
  up) up ;;
  env) environment ;;
  down) down ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
