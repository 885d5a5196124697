# What the shell around a step does at its end: say what to do when the step was killed. Here,
# because whoever may be killed cannot say so itself, neither a step nor what waits for it; and in a
# file, because Snakemake prints the command of a step that fails.
status=$?
if [ "$status" -gt 128 ]; then
  echo "killed by signal $((status - 128)), which if it is 9 may be for want of memory; run again," \
    "a training goes on from its last whole epoch" >&2
fi
