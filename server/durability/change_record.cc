#include "server/durability/change_record.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/durability/batch_record.h"
#include "server/durability/binary_fields.h"
#include "server/durability/state_check.h"
#include "server/kernels/arrival_scan.h"
#include "server/rule/groups.h"

namespace accrue {

template <typename V, FieldsOf<SessionOpenChange> T>
void VisitFields(V& visit, T& change) {
  visit("worker", change.worker);
  visit("id", change.id);
}

template <typename V, FieldsOf<SessionCloseChange> T>
void VisitFields(V& visit, T& change) {
  visit("ids", change.ids);
}

template <typename V, FieldsOf<HyperparameterChange> T>
void VisitFields(V& visit, T& change) {
  visit("groups", change.groups);
}

namespace {

// In files: they never change.
enum RecordType : uint32_t {
  kBegin = 1,
  kBatch = 2,
  kSessionOpen = 3,
  kSessionClose = 4,
  kHyperparameters = 5,
  kBegun = 6,
};

// Whether all numbers of a struct, and of those in it, are finite.
class FiniteCheck {
 public:
  template <typename T>
  void operator()(const char*, const T& value) {
    Look(value);
  }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  void Look(const T& value) {
    if constexpr (std::is_floating_point_v<T>) {
      ok_ = ok_ && std::isfinite(value);
    } else if constexpr (std::is_class_v<T>) {
      VisitFields(*this, value);
    }
  }
  void Look(const std::string&) {}
  template <typename T>
  void Look(const std::optional<T>& value) {
    if (value.has_value()) Look(*value);
  }
  template <typename T>
  void Look(const std::vector<T>& values) {
    for (const T& value : values) Look(value);
  }

  bool ok_ = true;
};

template <typename T>
bool IsFinite(const T& value) {
  FiniteCheck check;
  VisitFields(check, value);
  return check.ok();
}

template <typename T>
std::string Encode(const T& value) {
  BinaryWriter writer;
  VisitFields(writer, value);
  return writer.Take();
}

BatchRecord RecordOf(const BatchChange& change) {
  const Batch& batch = *change.batch;
  BatchRecord record;
  record.version = change.version;
  record.folded_before = change.folded_pushes;
  record.folded_pushes = batch.folded_pushes;
  record.updated = batch.updated;
  record.missing = batch.missing;
  record.looking_ahead = batch.looking_ahead;
  record.recent_micro_steps = batch.recent_micro_steps.last();
  for (const Batch::Item& item : batch.items) {
    const PushHeader& header = item.push->header;
    record.items.push_back({.session_id = header.session_id,
                            .sequence = header.sequence,
                            .version = header.version.number,
                            .encoding = header.encoding,
                            .micro_steps = header.micro_steps,
                            .weight = header.weight,
                            .scale = header.scale,
                            .loss = header.loss,
                            .folded_pushes = item.outcome.folded_pushes,
                            .groups = item.outcome.groups});
  }
  for (const Held& held : batch.held) {
    record.held.push_back({.worker = held->worker,
                           .facts = held->facts,
                           .group_square_sums = held->group_square_sums});
  }
  for (size_t g = 0; g < batch.cycles.size(); ++g) {
    const kernels::GroupPass& pass = batch.pass.groups[g];
    record.groups.push_back({.k = change.k[g],
                             .cycle = batch.cycles[g],
                             .pushes = pass.pushes,
                             .payloads = pass.payloads,
                             .look_ahead = pass.look_ahead,
                             .buffer_fold = pass.buffer_fold,
                             .update = pass.update});
  }
  return record;
}

JournalEntry EncodeBatch(const BatchChange& change) {
  const Batch& batch = *change.batch;
  JournalEntry entry;
  entry.type = kBatch;
  entry.head = Encode(RecordOf(change));
  for (size_t i = 0; i < batch.items.size(); ++i) {
    const Push& push = *batch.items[i].push;
    const bool held = !batch.held.empty();
    entry.payloads.push_back(
        {.bytes = held ? &batch.held[i]->payload : &push.payload,
         .hash = push.hash});
  }
  entry.owner = change.batch;
  return entry;
}

// What a record says, read against the model that it is of.
class Decoder {
 public:
  Decoder(JournalRecord record, const ModelSpec& spec, const Layout& layout)
      : record_(std::move(record)),
        spec_(spec),
        layout_(layout),
        rules_(GroupRules(spec)) {}

  absl::StatusOr<std::optional<Change>> Decode();

 private:
  absl::Status Wrong(absl::string_view what) const {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                     absl::StrCat("journal record ", record_.lsn, " in ",
                                  record_.place, ": ", what));
  }
  template <typename T>
  absl::StatusOr<T> Read() const;
  absl::StatusOr<Change> DecodeBatch();
  absl::Status Check(const BatchRecord& record) const;
  absl::Status CheckItem(const ItemRecord& item,
                         const ByteChain& payload) const;
  absl::Status CheckHeld(const BatchRecord& record) const;
  absl::Status CheckGroup(const BatchRecord& record, size_t g) const;
  absl::Status CheckK(const GroupRecord& group, size_t g) const;
  absl::Status CheckGroups(const std::vector<int32_t>& groups,
                           absl::string_view what) const;
  bool gathers() const { return KeepsPayloads(spec_); }

  JournalRecord record_;
  const ModelSpec& spec_;
  const Layout& layout_;
  const std::vector<rule::RuleSpec> rules_;
};

template <typename T>
absl::StatusOr<T> Decoder::Read() const {
  T value;
  BinaryReader reader(record_.head);
  VisitFields(reader, value);
  if (!reader.wrong().empty()) {
    return Wrong(absl::StrCat("no ", reader.wrong(), " where there should be"));
  }
  if (!reader.AtEnd()) return Wrong("bytes behind its end");
  return value;
}

absl::Status Decoder::CheckGroups(const std::vector<int32_t>& groups,
                                  absl::string_view what) const {
  int32_t least = 0;
  for (const int32_t g : groups) {
    if (g < least || static_cast<size_t>(g) >= rules_.size()) {
      return Wrong(absl::StrCat(what, ": group ", g, ", want ", least, " to ",
                                rules_.size() - 1));
    }
    least = g + 1;
  }
  return absl::OkStatus();
}

absl::Status Decoder::CheckItem(const ItemRecord& item,
                                const ByteChain& payload) const {
  const kernels::PayloadBytes want =
      kernels::PayloadBytesOf(item.encoding, layout_.elems());
  if (!want.Allow(payload.size_bytes())) {
    return Wrong(absl::StrCat("a payload of ", payload.size_bytes(),
                              " bytes, want ", want.least, " to ", want.most));
  }
  if (item.groups.size() != rules_.size() || item.micro_steps < 1 ||
      item.micro_steps > rule::kMaxK || item.sequence < 1 ||
      !IsCount(item.sequence) || !IsCount(item.folded_pushes) ||
      !IsId(item.session_id)) {
    return Wrong("a push that is none of this model");
  }
  kernels::ArrivalScan scan(layout_.blocks(), item.encoding);
  for (const ByteChain::Span& span : payload.spans()) {
    scan.Update(span.data, span.size);
  }
  if (!scan.flaw().empty()) return Wrong(scan.flaw());
  if (!scan.finite()) return Wrong("a gradient that is not finite");
  return absl::OkStatus();
}

// A pass of it touches no more than it is given memory for.
absl::Status Decoder::CheckGroup(const BatchRecord& record, size_t g) const {
  const GroupRecord& group = record.groups[g];
  const auto has = [g](const std::vector<int32_t>& groups) {
    return std::find(groups.begin(), groups.end(), static_cast<int32_t>(g)) !=
           groups.end();
  };
  const bool updates = has(record.updated);
  const bool embedded = spec_.optimizer.buffering == rule::Buffering::kEmbedded;
  if (updates != group.update.has_value()) {
    return Wrong("an update that is none");
  }
  const bool looks_ahead = embedded && group.look_ahead.has_value();
  if (looks_ahead != has(record.looking_ahead)) {
    return Wrong("a look-ahead that is none");
  }
  if ((updates && !embedded) != group.buffer_fold.has_value()) {
    return Wrong("a mean that is none");
  }
  if (!embedded && group.look_ahead.has_value() && !updates) {
    return Wrong("a look-ahead before a cycle's end");
  }
  if (group.look_ahead.has_value() && !spec_.optimizer.nesterov) {
    return Wrong("a look-ahead without Nesterov");
  }
  const size_t pushes = gathers() ? group.payloads.size() : record.items.size();
  if (group.pushes.size() != pushes ||
      (!gathers() && !group.payloads.empty())) {
    return Wrong(absl::StrCat("scalars of ", group.pushes.size(),
                              " pushes, want ", pushes));
  }
  if (gathers() && updates != (pushes > 0)) {
    return Wrong("a cycle that is not gathered");
  }
  return CheckK(group, g);
}

absl::Status Decoder::CheckK(const GroupRecord& group, size_t g) const {
  rule::RuleSpec rule = rules_[g];
  const auto& adaptive = spec_.groups[g].adaptive_k;
  if (adaptive.has_value()
          ? group.k < adaptive->min_k || group.k > adaptive->max_k
          : group.k != rule.k) {
    return Wrong(
        absl::StrCat("k = ", group.k, ", which its group cannot have"));
  }
  if (adaptive.has_value()) rule.k = rule.update_every = group.k;
  if (!IsFinite(group)) return Wrong("numbers that are not finite");
  const absl::Status sound = CheckCycle(group.cycle, rule);
  return sound.ok() ? sound : Wrong(sound.message());
}

absl::Status Decoder::CheckHeld(const BatchRecord& record) const {
  for (size_t i = 0; i < record.held.size(); ++i) {
    const HeldRecord& held = record.held[i];
    const absl::Status sound =
        CheckHeldPush({.worker = held.worker,
                       .encoding = record.items[i].encoding,
                       .payload_bytes = record_.payloads[i].size_bytes(),
                       .facts = held.facts,
                       .group_square_sums = held.group_square_sums},
                      rules_.size(), layout_.elems());
    if (!sound.ok()) return Wrong(sound.message());
  }
  return absl::OkStatus();
}

absl::Status Decoder::Check(const BatchRecord& record) const {
  if (!IsId(record.version.lineage) || !IsCount(record.version.number)) {
    return Wrong("a batch of no version");
  }
  if (!IsCount(record.folded_before) || !IsCount(record.folded_pushes) ||
      record.folded_before > record.folded_pushes) {
    return Wrong(absl::StrCat("folded_pushes: ", record.folded_pushes,
                              " behind ", record.folded_before));
  }
  if (record.groups.size() != rules_.size()) {
    return Wrong(absl::StrCat("a batch of ", record.groups.size(),
                              " groups, want ", rules_.size()));
  }
  if (record.items.size() != record_.payloads.size()) {
    return Wrong(absl::StrCat(record_.payloads.size(), " payloads, want ",
                              record.items.size()));
  }
  if (record.held.size() != (gathers() ? record.items.size() : 0)) {
    return Wrong(absl::StrCat(record.held.size(), " pushes held"));
  }
  if (record.missing.size() != record.updated.size()) {
    return Wrong(absl::StrCat(record.missing.size(), " counts of missing ",
                              "pushes, want ", record.updated.size()));
  }
  for (const auto& [micro_steps, window] : record.recent_micro_steps) {
    if (micro_steps < 1 || micro_steps > rule::kMaxK || !IsCount(window)) {
      return Wrong("micro_steps of no push");
    }
  }
  ACCRUE_RETURN_IF_ERROR(CheckGroups(record.updated, "updated"));
  ACCRUE_RETURN_IF_ERROR(CheckGroups(record.looking_ahead, "looking_ahead"));
  for (size_t i = 0; i < record.items.size(); ++i) {
    ACCRUE_RETURN_IF_ERROR(CheckItem(record.items[i], record_.payloads[i]));
  }
  ACCRUE_RETURN_IF_ERROR(CheckHeld(record));
  for (size_t g = 0; g < rules_.size(); ++g) {
    ACCRUE_RETURN_IF_ERROR(CheckGroup(record, g));
  }
  return absl::OkStatus();
}

absl::StatusOr<Change> Decoder::DecodeBatch() {
  ACCRUE_ASSIGN_OR_RETURN(BatchRecord record, Read<BatchRecord>());
  ACCRUE_RETURN_IF_ERROR(Check(record));
  BatchChange change;
  change.version = std::move(record.version);
  change.folded_pushes = record.folded_before;
  std::vector<rule::CycleState> cycles;
  for (const GroupRecord& group : record.groups) {
    change.k.push_back(group.k);
    cycles.push_back(group.cycle);
  }
  change.batch =
      std::make_shared<Batch>(NewBatch(rules_, cycles, record.folded_pushes));
  Batch& batch = *change.batch;
  batch.updated = std::move(record.updated);
  batch.missing = std::move(record.missing);
  batch.looking_ahead = std::move(record.looking_ahead);
  for (const auto& [micro_steps, window] : record.recent_micro_steps) {
    batch.recent_micro_steps.Note(micro_steps, window);
  }
  for (size_t g = 0; g < record.groups.size(); ++g) {
    GroupRecord& group = record.groups[g];
    kernels::GroupPass& pass = batch.pass.groups[g];
    pass.pushes = std::move(group.pushes);
    pass.payloads = std::move(group.payloads);
    pass.look_ahead = group.look_ahead;
    pass.buffer_fold = group.buffer_fold;
    pass.update = group.update;
  }
  for (size_t i = 0; i < record.items.size(); ++i) {
    ItemRecord& item = record.items[i];
    auto push = std::make_unique<Push>();
    push->header.model = spec_.name;
    push->header.session_id = std::move(item.session_id);
    push->header.sequence = item.sequence;
    push->header.version.number = item.version;
    push->header.encoding = item.encoding;
    push->header.payload_bytes = record_.payloads[i].size_bytes();
    push->header.micro_steps = item.micro_steps;
    push->header.weight = item.weight;
    push->header.scale = item.scale;
    push->header.loss = item.loss;
    push->hash = record_.hashes[i];
    push->done = [](const absl::StatusOr<PushOutcome>&) {};
    if (gathers()) {
      HeldRecord& from = record.held[i];
      auto held = std::make_shared<HeldPush>();
      held->worker = std::move(from.worker);
      held->payload = std::move(record_.payloads[i]);
      held->encoding = item.encoding;
      held->facts = from.facts;
      held->group_square_sums = std::move(from.group_square_sums);
      batch.held.push_back(std::move(held));
    } else {
      push->payload = std::move(record_.payloads[i]);
      batch.pass.payloads.push_back({&push->payload, item.encoding});
    }
    PushOutcome outcome;
    outcome.folded_pushes = item.folded_pushes;
    outcome.groups = std::move(item.groups);
    batch.items.push_back({std::move(push), std::move(outcome)});
  }
  return change;
}

absl::StatusOr<std::optional<Change>> Decoder::Decode() {
  std::optional<Change> change;
  switch (record_.type) {
    case kBegin:
      break;
    case kBegun:
      return Wrong("the model began anew with a checkpoint that is gone");
    case kBatch: {
      ACCRUE_ASSIGN_OR_RETURN(change, DecodeBatch());
      break;
    }
    case kSessionOpen: {
      ACCRUE_ASSIGN_OR_RETURN(auto open, Read<SessionOpenChange>());
      if (!IsWorker(open.worker) || !IsId(open.id)) {
        return Wrong("a session of no worker, or without an id");
      }
      change = std::move(open);
      break;
    }
    case kSessionClose: {
      ACCRUE_ASSIGN_OR_RETURN(change, Read<SessionCloseChange>());
      break;
    }
    case kHyperparameters: {
      ACCRUE_ASSIGN_OR_RETURN(auto hyper, Read<HyperparameterChange>());
      if (hyper.groups.size() != rules_.size()) {
        return Wrong(absl::StrCat("hyperparameters of ", hyper.groups.size(),
                                  " groups, want ", rules_.size()));
      }
      for (size_t g = 0; g < rules_.size(); ++g) {
        rule::RuleSpec rule = rules_[g];
        rule.hyper = hyper.groups[g];
        const std::string why = rule::ValidateRule(rule);
        if (!why.empty()) return Wrong(why);
      }
      change = std::move(hyper);
      break;
    }
    default:
      return Wrong(absl::StrCat("of type ", record_.type));
  }
  return change;
}

}  // namespace

JournalEntry EncodeBegin() {
  JournalEntry entry;
  entry.type = kBegin;
  return entry;
}

JournalEntry EncodeBegun() {
  JournalEntry entry;
  entry.type = kBegun;
  return entry;
}

bool IsBegun(const JournalRecord& record) { return record.type == kBegun; }

JournalEntry EncodeChange(const Change& change) {
  if (const auto* batch = std::get_if<BatchChange>(&change)) {
    return EncodeBatch(*batch);
  }
  JournalEntry entry;
  if (const auto* open = std::get_if<SessionOpenChange>(&change)) {
    entry.type = kSessionOpen;
    entry.head = Encode(*open);
  } else if (const auto* close = std::get_if<SessionCloseChange>(&change)) {
    entry.type = kSessionClose;
    entry.head = Encode(*close);
  } else if (const auto* hyper = std::get_if<HyperparameterChange>(&change)) {
    entry.type = kHyperparameters;
    entry.head = Encode(*hyper);
  }
  return entry;
}

absl::StatusOr<std::optional<Change>> DecodeChange(JournalRecord record,
                                                   const ModelSpec& spec,
                                                   const Layout& layout) {
  return Decoder(std::move(record), spec, layout).Decode();
}

}  // namespace accrue
