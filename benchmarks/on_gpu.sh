#!/usr/bin/env bash
# All that is measured on a GPU, in at most 8 minutes. Torch, numpy, safetensors, psutil, tqdm, scikit-learn
# and mlxtend are enough there; what is missing may be unpacked into a folder of PYTHONPATH.
#
#   python benchmarks/paper_size.py --plan work.json       # before, where everything is installed
#   benchmarks/on_gpu.sh FOLDER [WORK.json]                # where the GPU is; EOS_DATA has the data
#
# leaves in FOLDER what each part printed, and found.pickle with the trials of the paper's first figures. Each
# part ends in time, and no failure keeps the next from starting. With SMALLEST=1 it goes through on a CPU.
set -u
out=$1 work=${2:-work.json}
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$(dirname "$here"):$here${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3} device=cuda small=
[ -z "${SMALLEST:-}" ] || { device=cpu small=--smallest; }
mkdir -p "$out"
SECONDS=0

part() { # seconds, name, command
    local seconds=$1 name=$2
    shift 2
    timeout "$seconds" "$@" >"$out/$name.txt" 2>"$out/$name.err"
    echo "$name: exit $? after $SECONDS s in all" | tee -a "$out/parts.txt"
}

golden="import sys; from jobs.golden import golden_checks
for check in golden_checks(sys.argv[1]): print(check)"
part 60 golden "$python" -c "$golden" "$device"
part 60 calibration "$python" -m jobs.calibration "$device"
part 60 recorded "$python" "$here/gpu.py" --parts recorded,column $small
part 150 paper "$python" "$here/paper_size.py" --compute "$work" "$out/found.pickle" --minutes 2.3 --device "$device"
part 110 costs "$python" "$here/gpu.py" --parts costs,memory,steps,batches $small
part 40 exactness "$python" "$here/gpu.py" --parts settings,exactness $small
