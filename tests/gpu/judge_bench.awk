# Rows of run.sh's table from the JSON lines of accrue_bench and torch_cycle.py,
# each with the floor and the aim that it has.
#
#   awk -v step=NAME -f judge_bench.awk EARLIER-FIGURES FIGURES
#
# A row has each of the step's figures, which may stand among other lines; after
# PyTorch's, our cycles are judged by them too.

# A field of the line at hand, without quotes; empty if it has none.
function field(key,    found) {
  if (!match($0, "\"" key "\":(\"[^\"]*\"|[^,}]*)")) return ""
  found = substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3)
  gsub(/"/, "", found)
  return found
}

function row(name, verdict, what) {
  printf "%-40s %-8s %s\n", name, verdict, what
}

function judged_row(name, what, ratio, floor, aim) {
  row(name, ratio >= aim ? "pass" : ratio >= floor ? "short" : "below",
      sprintf("%s: %.3f, floor %s, aim %s", what, ratio, floor, aim))
}

!/^{/ { next }

{
  name = field("name")
  value = field("value") + 0
  baseline = field("baseline") + 0
  ratio = field("ratio") + 0
  figure = sprintf("%.2f %s", value, field("unit"))
  if (field("skipped") == "") values[name] = value
}

FILENAME != ARGV[ARGC - 1] { next }

field("skipped") != "" {
  row(name, "skip", field("skipped"))
  next
}

name ~ /^gpu\/(fold|update)\// {
  judged_row(name, sprintf("%s, copy %.2f", figure, baseline), ratio,
             0.85, 0.92)
  next
}

name ~ /^gpu\/push/ {
  figure = sprintf("%s, pinned copy %.2f", figure, baseline)
}

name == "gpu/push" {
  judged_row(name, figure, ratio, 0.7, 0.85)
  next
}

name == "gpu/push/slices" { figure = sprintf("%s: %.3f", figure, ratio) }

# Bytes that the driver says are taken. It takes whole pages, of 2 MiB at least.
name ~ /^gpu\/memory\/(adam|sgd)$/ {
  needed = name ~ /adam/ ? 12 : 8
  row(name, value >= needed && value <= needed * 1.005 ? "pass" : "below",
      sprintf("%s, classic %.2f; %d, and at most 0.5 %% above", figure, \
        baseline, needed))
  next
}

# If nothing was taken, nothing was measured.
name ~ /^gpu\/memory\/(context|ring)$/ && value <= 0 {
  row(name, "FAIL", figure)
  next
}

name ~ /^torch/ {
  figure = figure ", PyTorch " field("torch") ", set_to_none " \
    field("set_to_none")
}

{ row(name, "info", figure) }

# In PyTorch the first gradient becomes .grad, the others are added to it (12
# bytes a parameter each), and AdamW reads four arrays and writes three.
END {
  if (step != "torch") exit
  for (k = 4; k <= 8; k += 4) {
    ours = "gpu/cycle/adam/k" k
    theirs = "torch/cycle/adam/k" k
    if (!(ours in values) || !(theirs in values)) {
      row(ours "/torch", "FAIL",
          "no figure of " (ours in values ? "PyTorch" : "ours"))
      continue
    }
    bytes = (12 * (k - 1) + 28) / (4 * k + 24)
    ratio = values[ours] / values[theirs]
    judged_row(ours "/torch", sprintf("%.2f times PyTorch, bytes %.2f times", \
      ratio, bytes), ratio / bytes, 0.8, 0.9)
  }
}
