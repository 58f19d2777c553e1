#include "client/ctl/description_text.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/ctl/format.h"
#include "client/ctl/table.h"

namespace accrue::ctl {
namespace {

using client::Buffering;
using client::GroupPosition;
using client::GroupSpec;
using client::Hyperparameters;
using client::ModelDescription;
using client::ModelSpec;
using client::OptimizerSpec;
using client::Schedule;

std::string VersionText(const ModelDescription& model) {
  return model.version.has_value() ? HumanCount(model.version->number) : "-";
}

std::string LossText(const std::optional<double>& loss) {
  return loss.has_value() ? HumanReal(*loss) : "-";
}

std::string OptimizerText(const OptimizerSpec& optimizer) {
  std::string text =
      absl::StrCat(Name(optimizer.optimizer), ", decay ", Name(optimizer.decay),
                   ", buffering ", Name(optimizer.buffering));
  if (optimizer.optimizer == client::Optimizer::kSgd) {
    if (optimizer.nesterov) absl::StrAppend(&text, ", nesterov");
  } else if (optimizer.optimizer != client::Optimizer::kSignum &&
             optimizer.optimizer != client::Optimizer::kLion) {
    absl::StrAppend(&text, ", second moment ", Name(optimizer.second_moment),
                    ", epsilon ", Name(optimizer.epsilon_place), " the root");
  }
  absl::StrAppend(&text, ", lr scaling ", Name(optimizer.learning_rate_scaling),
                  ", clip scope ", Name(optimizer.clip_scope));
  return text;
}

std::string ConsistencyText(const ModelSpec& spec) {
  std::string text =
      spec.max_staleness < 0
          ? std::string("asynchronous")
          : absl::StrCat("staleness up to ", spec.max_staleness, ", ",
                         Name(spec.stale_policy), " beyond");
  absl::StrAppend(
      &text, "; ",
      spec.max_pushes_per_worker == 0
          ? std::string("any number of pushes")
          : absl::StrCat("at most ", spec.max_pushes_per_worker, " pushes"),
      " a worker and version; cycle timeout ",
      spec.cycle_timeout.has_value() ? absl::FormatDuration(*spec.cycle_timeout)
                                     : "none");
  if (spec.min_pushes.has_value() && spec.cycle_timeout.has_value()) {
    absl::StrAppend(&text, " from ", *spec.min_pushes, " pushes");
  }
  return text;
}

// What its kind makes of a schedule's numbers.
std::string CurveText(const Schedule& schedule) {
  switch (schedule.kind) {
    case Schedule::Kind::kConstant:
      return "";
    case Schedule::Kind::kLinear:
    case Schedule::Kind::kCosine:
      return absl::StrCat(" to ", HumanReal(schedule.final_factor), " over ",
                          schedule.total_updates);
    case Schedule::Kind::kStep:
      return absl::StrCat(" ", HumanReal(schedule.gamma), " every ",
                          schedule.step_updates);
    case Schedule::Kind::kExponential:
      return absl::StrCat(" ", HumanReal(schedule.gamma));
    case Schedule::Kind::kInverseSquareRoot:
      return absl::StrCat(" over ", schedule.step_updates);
  }
  return "";
}

std::string ScheduleText(const Schedule& schedule) {
  std::string text = absl::StrCat(Name(schedule.kind), CurveText(schedule));
  if (schedule.warmup_updates > 0) {
    absl::StrAppend(&text, ", warm-up ", schedule.warmup_updates);
  }
  return text;
}

std::string HyperparametersText(const Hyperparameters& hyperparameters) {
  std::vector<std::string> parts;
  const auto add = [&](absl::string_view name,
                       const std::optional<double>& value, bool zero_is_said) {
    if (!value.has_value() || (*value == 0 && !zero_is_said)) return;
    parts.push_back(absl::StrCat(name, " ", HumanReal(*value)));
  };
  add("lr", hyperparameters.learning_rate, true);
  add("beta1", hyperparameters.beta1, true);
  add("beta2", hyperparameters.beta2, true);
  add("epsilon", hyperparameters.epsilon, true);
  add("dampening", hyperparameters.dampening, false);
  add("weight decay", hyperparameters.weight_decay, false);
  add("clip norm", hyperparameters.clip_norm, false);
  add("clip push norm", hyperparameters.clip_push_norm, false);
  if (hyperparameters.schedule.has_value()) {
    parts.push_back(ScheduleText(*hyperparameters.schedule));
  }
  return absl::StrJoin(parts, "; ");
}

std::string GroupText(const GroupSpec& group) {
  std::string text = HyperparametersText(group.hyperparameters);
  if (group.adaptive_k.has_value()) {
    absl::StrAppend(&text, "; adaptive k ", group.adaptive_k->min_k, " to ",
                    group.adaptive_k->max_k);
  }
  return text;
}

// "-", "3.1", "> 3.1": of six digits some few are known.
std::string VariationText(double variation, bool at_least) {
  return absl::StrFormat("%s%.3g", at_least ? "> " : "", variation);
}

std::string VariationText(const std::optional<client::Noise>& noise) {
  if (!noise.has_value()) return "-";
  return VariationText(noise->variation, noise->variation_at_least);
}

std::string KChangesText(const std::vector<client::KChange>& changes) {
  if (changes.empty()) return "";
  Table table({{"K CHANGED"},
               {"FROM", Table::kRight},
               {"TO", Table::kRight},
               {"AT UPDATE", Table::kRight},
               {"CV", Table::kRight}});
  for (const client::KChange& change : changes) {
    table.AddRow({change.group, HumanCount(change.from_k),
                  HumanCount(change.to_k), HumanCount(change.updates),
                  VariationText(change.variation, change.variation_at_least)});
  }
  return absl::StrCat(table.ToString(), "\n");
}

std::string TensorsText(const ModelSpec& spec) {
  Table table({{"TENSOR"}, {"SHAPE"}, {"ELEMENTS", Table::kRight}, {"GROUP"}});
  for (const client::TensorSpec& tensor : spec.tensors) {
    const std::string& group = tensor.group.empty() && !spec.groups.empty()
                                   ? spec.groups[0].name
                                   : tensor.group;
    table.AddRow({tensor.name,
                  absl::StrCat("[", absl::StrJoin(tensor.shape, ", "), "]"),
                  HumanCount(client::ElementCount(tensor)), group});
  }
  return table.ToString();
}

std::string MemoryText(const client::MemoryReport& memory) {
  Table table({{"MEMORY"}, {"LIVE", Table::kRight}, {"PEAK", Table::kRight}});
  int64_t total = 0;
  int64_t state = 0;
  for (const client::MemoryItem& item : memory.items) {
    total += item.live_bytes;
    if (item.tag == "momentum" || item.tag == "variance") {
      state += item.live_bytes;
    }
    if (item.peak_bytes == 0) continue;
    table.AddRow({absl::StrCat("  ", item.tag), HumanBytes(item.live_bytes),
                  HumanBytes(item.peak_bytes)});
  }
  table.AddRow({"live in all", HumanBytes(total)});
  table.AddRow({"moments on the device", HumanBytes(state)});
  table.AddRow({absl::StrCat("publications (", memory.publications, ")"),
                HumanBytes(memory.published_bytes)});
  table.AddRow(
      {"accumulation buffer", HumanBytes(memory.accumulation_buffer_bytes)});
  table.AddRow({"ceiling of the daemon", HumanBytes(memory.ceiling_bytes)});
  return table.ToString();
}

std::string WorkersText(const std::vector<std::string>& workers) {
  return workers.empty() ? "-" : absl::StrJoin(workers, ", ");
}

// What there is to say of it besides its name.
std::string DeviceText(const client::DeviceInfo& device) {
  std::vector<std::string> parts;
  if (!device.product.empty()) parts.push_back(device.product);
  if (device.total_bytes > 0) {
    parts.push_back(absl::StrCat(HumanBytes(device.free_bytes), " of ",
                                 HumanBytes(device.total_bytes), " free"));
  }
  if (!device.fault.empty()) {
    parts.push_back(absl::StrCat("LOST: ", device.fault));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace

std::string ModelsText(const std::vector<ModelDescription>& models) {
  Table table({{"MODEL"},
               {"STATE"},
               {"VERSION", Table::kRight},
               {"PUSHES", Table::kRight},
               {"PARAMETERS", Table::kRight},
               {"OPTIMIZER"},
               {"BUFFERING"},
               {"PUSHED", Table::kRight},
               {"MISSING", Table::kRight},
               {"LOSS", Table::kRight},
               {"MEMORY", Table::kRight}});
  std::string reasons;
  for (const ModelDescription& model : models) {
    if (!model.unavailable_reason.empty()) {
      table.AddRow({model.spec.name, absl::StrCat(Name(model.state))});
      absl::StrAppend(&reasons, "\n", model.unavailable_reason, "\n");
      continue;
    }
    int64_t live_bytes = 0;
    for (const auto& item : model.memory.items) live_bytes += item.live_bytes;
    const OptimizerSpec& optimizer = model.spec.optimizer;
    table.AddRow({model.spec.name, absl::StrCat(Name(model.state)),
                  VersionText(model), HumanCount(model.folded_pushes),
                  HumanCount(model.parameter_count),
                  absl::StrCat(Name(optimizer.optimizer)),
                  absl::StrCat(Name(optimizer.buffering)),
                  absl::StrCat(model.pushed_workers.size()),
                  absl::StrCat(model.missing_workers.size()),
                  LossText(model.last_loss), HumanBytes(live_bytes)});
  }
  return absl::StrCat(table.ToString(), reasons);
}

std::string GroupsText(const ModelDescription& model) {
  Table table({{"GROUP"},
               {"K", Table::kRight},
               {"POSITION", Table::kRight},
               {"UPDATES", Table::kRight},
               {"LR NOW", Table::kRight},
               {"NORM SEEN", Table::kRight},
               {"CV", Table::kRight},
               {"HYPERPARAMETERS"}});
  for (size_t i = 0; i < model.groups.size(); ++i) {
    const GroupPosition& group = model.groups[i];
    table.AddRow(
        {group.group, HumanCount(group.k),
         absl::StrCat(group.position, "/", group.update_every),
         HumanCount(group.updates), HumanReal(group.learning_rate),
         group.clip_norm_seen > 0 ? HumanReal(group.clip_norm_seen) : "-",
         VariationText(group.noise),
         i < model.spec.groups.size() ? GroupText(model.spec.groups[i]) : ""});
  }
  return table.ToString();
}

// "journal; taken up at 1,200 pushes; checkpoint 00000000000000000042 of 1,200
// pushes".
std::string DurabilityText(const ModelDescription& model) {
  std::string text(Name(model.spec.durability));
  if (model.restored_folded_pushes > 0) {
    absl::StrAppend(&text, "; taken up at ",
                    HumanCount(model.restored_folded_pushes), " pushes");
  }
  if (model.lost_pushes > 0) {
    absl::StrAppend(&text, ", ", HumanCount(model.lost_pushes), " lost");
  }
  if (model.checkpoint.has_value()) {
    absl::StrAppend(&text, "; checkpoint ", model.checkpoint->name, " of ",
                    HumanCount(model.checkpoint->folded_pushes), " pushes");
  }
  return text;
}

std::string SpecText(const ModelSpec& spec) {
  Table table({{"GROUP"},
               {"K", Table::kRight},
               {"TENSORS", Table::kRight},
               {"ELEMENTS", Table::kRight},
               {"HYPERPARAMETERS"}});
  for (const GroupSpec& group : spec.groups) {
    int64_t tensors = 0, elements = 0;
    for (const client::TensorSpec& tensor : spec.tensors) {
      const bool first = tensor.group.empty() && &group == &spec.groups[0];
      if (!first && tensor.group != group.name) continue;
      ++tensors;
      elements += client::ElementCount(tensor);
    }
    table.AddRow({group.name, HumanCount(group.k), HumanCount(tensors),
                  HumanCount(elements), GroupText(group)});
  }
  return absl::StrCat(table.ToString(), "\n", TensorsText(spec));
}

std::string ModelText(const ModelDescription& model) {
  Table facts({{""}, {""}});
  facts.AddRow({"model", model.spec.name});
  facts.AddRow({"state", absl::StrCat(Name(model.state))});
  if (!model.poison_reason.empty()) {
    facts.AddRow({"poisoned", model.poison_reason});
  }
  facts.AddRow({"devices", model.devices.empty()
                               ? "-"
                               : absl::StrJoin(model.devices, ", ")});
  facts.AddRow({"version", VersionText(model)});
  facts.AddRow({"lineage", model.version ? model.version->lineage : "-"});
  facts.AddRow({"pushes", HumanCount(model.folded_pushes)});
  facts.AddRow({"short cycles", HumanCount(model.short_cycles)});
  facts.AddRow({"last loss", LossText(model.last_loss)});
  facts.AddRow(
      {"parameters",
       absl::StrCat(HumanCount(model.parameter_count), " (",
                    HumanBytes(model.payload_bytes), " a push in f32)")});
  facts.AddRow({"optimizer", OptimizerText(model.spec.optimizer)});
  facts.AddRow({"consistency", ConsistencyText(model.spec)});
  facts.AddRow({"durability", DurabilityText(model)});
  facts.AddRow({"received", HumanBytes(model.received_bytes)});
  facts.AddRow({"sent", HumanBytes(model.sent_bytes)});
  const client::Traffic& traffic = model.traffic;
  facts.AddRow({"push traffic",
                absl::StrCat(HumanBytes(traffic.push_request_bytes), " in, ",
                             HumanBytes(traffic.push_response_bytes), " out")});
  facts.AddRow({"pull traffic",
                absl::StrCat(HumanBytes(traffic.pull_request_bytes), " in, ",
                             HumanBytes(traffic.pull_response_bytes), " out")});
  facts.AddRow({"pushed", WorkersText(model.pushed_workers)});
  facts.AddRow({"missing", WorkersText(model.missing_workers)});
  return absl::StrCat(facts.ToString(), "\n", GroupsText(model), "\n",
                      KChangesText(model.k_changes), TensorsText(model.spec),
                      "\n", MemoryText(model.memory));
}

std::string SessionsText(
    const std::vector<client::SessionDescription>& sessions, absl::Time now) {
  Table table({{"WORKER"},
               {"SESSION"},
               {"LAST PUSH", Table::kRight},
               {"THIS VERSION", Table::kRight},
               {"ACTIVE", Table::kRight}});
  for (const client::SessionDescription& session : sessions) {
    table.AddRow({session.worker, session.id_prefix,
                  HumanCount(session.last_sequence),
                  HumanCount(session.pushes_this_version),
                  HumanAge(now - session.last_active_time)});
  }
  return table.ToString();
}

std::string CheckpointsText(
    const std::vector<client::CheckpointDescription>& checkpoints,
    absl::Time now) {
  Table table({{"CHECKPOINT"},
               {"VERSION", Table::kRight},
               {"PUSHES", Table::kRight},
               {"LINEAGE"},
               {"SIZE", Table::kRight},
               {"AGE", Table::kRight}});
  for (const client::CheckpointDescription& checkpoint : checkpoints) {
    const std::optional<client::Version>& version = checkpoint.version;
    table.AddRow({checkpoint.name, version ? HumanCount(version->number) : "-",
                  HumanCount(checkpoint.folded_pushes),
                  version ? version->lineage.substr(0, 8) : "-",
                  HumanBytes(checkpoint.size_bytes),
                  HumanAge(now - checkpoint.create_time)});
  }
  return table.ToString();
}

std::string ServerInfoText(const client::ServerInfo& info) {
  const auto name = [](std::string* out, client::Encoding encoding) {
    absl::StrAppend(out, Name(encoding));
  };
  Table facts({{""}, {""}});
  facts.AddRow({"version", info.version});
  facts.AddRow({"devices", absl::StrJoin(info.devices, ", ")});
  for (const client::DeviceInfo& device : info.device_infos) {
    const std::string text = DeviceText(device);
    if (!text.empty()) facts.AddRow({absl::StrCat("  ", device.name), text});
  }
  facts.AddRow({"encodings", absl::StrJoin(info.encodings, ", ", name)});
  facts.AddRow(
      {"of pushes only", absl::StrJoin(info.push_encodings, ", ", name)});
  facts.AddRow({"largest chunk", HumanBytes(info.max_chunk_bytes)});
  facts.AddRow(
      {"ingest memory",
       absl::StrCat(HumanBytes(info.ingest_memory_bytes), ", ",
                    HumanBytes(info.ingest_reserved_bytes), " reserved")});
  facts.AddRow({"push streams", HumanCount(info.max_push_streams)});
  facts.AddRow({"sessions a model", HumanCount(info.max_sessions)});
  facts.AddRow(
      {"push idle timeout", absl::FormatDuration(info.push_idle_timeout)});
  facts.AddRow({"memory ceiling", HumanBytes(info.memory_ceiling_bytes)});
  facts.AddRow({"draining", info.draining ? "yes" : "no"});
  return facts.ToString();
}

}  // namespace accrue::ctl
