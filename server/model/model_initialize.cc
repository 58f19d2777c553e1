// ModelImpl's first parameters, from a payload, initializers or a file; and
// those that it begins anew with after a device fault.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/device/driver_wait.h"
#include "server/kernels/convert.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

constexpr int64_t kPieceElems = int64_t{1} << 18;

// A piece of one tensor: what one chunk of an initialization writes.
struct Piece {
  int tensor;
  int64_t begin;
  int64_t count;
};

std::vector<Piece> CutTensors(const Layout& layout) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const int64_t elems = layout.tensors()[i].elems;
    for (int64_t begin = 0; begin < elems; begin += kPieceElems) {
      pieces.push_back(
          {static_cast<int>(i), begin, std::min(kPieceElems, elems - begin)});
    }
  }
  return pieces;
}

// Decodes elements [offset, offset + out.size()) of a payload, in steps that
// fit into a buffer on the stack.
void DecodeRange(const ByteChain& payload, kernels::Encoding encoding,
                 int64_t offset, absl::Span<float> out) {
  constexpr int64_t kStep = 2048;
  const int64_t size = kernels::EncodedBytes(encoding);
  alignas(64) std::byte scratch[kStep * 4];
  ChainReader reader(payload);
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); i += kStep) {
    const int64_t count = std::min(kStep, static_cast<int64_t>(out.size()) - i);
    const std::byte* bytes =
        reader.Contiguous((offset + i) * size, count * size, scratch);
    kernels::Decode(bytes, count, encoding, out.data() + i);
  }
}

}  // namespace

void ModelImpl::Initialize(Initialization initialization,
                           std::function<void(absl::StatusOr<Version>)> done) {
  auto first = std::make_shared<FirstVersion>();
  first->from = std::move(initialization);
  first->done = std::move(done);
  Run([this, first = std::move(first)] { return DoInitialize(first); });
}

bool ModelImpl::DoInitialize(const FirstVersionPtr& first) {
  absl::Status status = CheckInitialization(first->from, first->initializers);
  if (!status.ok()) {
    first->done(std::move(status));
    return true;
  }
  // Readers may still hold what a poisoned model has published.
  if (!store_->HasRoom()) {
    return Park(
        {.go_on = [this, first] { return DoInitialize(first); },
         .give_up = [first](const absl::Status& why) { first->done(why); }});
  }
  bool poisoned;
  {
    MutexLock lock(&mu_);
    poisoned = !poison_reason_.empty();
  }
  if (!poisoned) {
    Fill(first);
    return false;
  }
  ResetShard([this, first](absl::Status reset) {
    if (!reset.ok()) return FailInitialize(first, std::move(reset));
    Fill(first);
  });
  return false;
}

void ModelImpl::ResetShard(std::function<void(absl::Status)> then) {
  if (shard_ == nullptr) return then(ReplaceShard());
  shard_->Reset(
      [self = Self(), then = std::move(then)](const absl::Status& reset) {
        if (reset.ok()) return then(reset);
        ACCRUE_LOG(warn, "model \"{}\" cannot stay where it is: {}",
                   self->name(), reset);
        // Not here, in the middle of the shard's own work.
        self->environment_.pool->Post(
            self->lane_, [self, then] { then(self->ReplaceShard()); });
      });
}

// Publications that a lost GPU has pinned, and that cannot be given back, are
// taken from --state_memory for good, on top of what the model has reserved. It
// trains on nevertheless: a lost GPU takes a restart, sooner or later.
absl::Status ModelImpl::ReplaceShard() {
  const DriverWait wait(*environment_.device);
  // Before there is another: parts of it may lie on GPUs that are sound.
  shard_.reset();
  ACCRUE_RETURN_IF_ERROR(MakeShard());
  store_->MoveTo(&shard_->device());
  return absl::OkStatus();
}

void ModelImpl::Fill(const FirstVersionPtr& first) {
  if (absl::Status status = NewBuffers(first->groups); !status.ok()) {
    return FailInitialize(first, std::move(status));
  }
  if (first->from.source != nullptr) return FillFromSource(first);
  auto pieces = std::make_shared<std::vector<Piece>>(CutTensors(*layout_));
  const auto piece_count = static_cast<int64_t>(pieces->size());
  auto write = [this, pieces, first](int64_t chunk) {
    const Piece& piece = (*pieces)[chunk];
    const TensorPlace& place = layout_->tensors()[piece.tensor];
    absl::Span<float> out(
        first->groups[place.group]->floats() + place.group_offset + piece.begin,
        piece.count);
    const Initialization& from = first->from;
    if (first->initializers.empty()) {
      DecodeRange(from.values, from.encoding, place.offset + piece.begin, out);
    } else {
      FillTensor(first->initializers[piece.tensor], from.seed, piece.tensor,
                 piece.begin, out);
    }
  };
  environment_.pool->Run(lane_, piece_count, std::move(write),
                         [self = Self(), first] { self->LoadShard(first); });
}

// What cannot be read is no fault of the device's: a poisoned model stays so.
void ModelImpl::FillFromSource(const FirstVersionPtr& first) {
  const int64_t pieces =
      (layout_->elems() + kStatePieceElems - 1) / kStatePieceElems;
  auto read = [this, first](int64_t piece) {
    const WorkPool::Waiting waiting;
    const absl::Status status = ReadPiece(
        *first->from.source, StateArray::kParameters, piece, first->groups);
    if (status.ok()) return;
    MutexLock lock(&first->mu);
    first->status.Update(status);
  };
  environment_.pool->Run(
      lane_, pieces, std::move(read), [self = Self(), first] {
        absl::Status status;
        {
          MutexLock lock(&first->mu);
          status = first->status;
        }
        if (!status.ok()) return self->EndInitialize(*first, std::move(status));
        self->LoadShard(first);
      });
}

void ModelImpl::LoadShard(const FirstVersionPtr& first) {
  first->from.values.Clear();
  first->from.reservation.reset();
  std::vector<const float*> groups;
  for (const auto& group : first->groups) groups.push_back(group->floats());
  shard_->Load(std::move(groups),
               [self = Self(), first](const absl::Status& loaded) {
                 if (!loaded.ok()) return self->FailInitialize(first, loaded);
                 self->AppendFirst(first);
               });
}

// It may be tried again: where memory is short as if nothing had happened, else
// by whoever restores it.
void ModelImpl::FailInitialize(const FirstVersionPtr& first, absl::Status why) {
  if (!absl::IsResourceExhausted(why)) {
    Poison(why);
    why = DeviceFault(why);
  }
  {
    MutexLock lock(&mu_);
    why = WithVersion(why, View(cycles_));
  }
  EndInitialize(*first, std::move(why));
}

void ModelImpl::EndInitialize(FirstVersion& first,
                              absl::StatusOr<Version> outcome) {
  // Its memory is free before anybody hears of it.
  first.from = Initialization();
  first.groups.clear();
  first.done(std::move(outcome));
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

// Whether it may become the first version. `sorted` stays empty where values
// were sent.
absl::Status ModelImpl::CheckInitialization(
    const Initialization& initialization, std::vector<Initializer>& sorted) {
  ACCRUE_RETURN_IF_ERROR(CheckTakesParameters(initialization.restore));
  if (initialization.first_non_finite >= 0) {
    MutexLock lock(&mu_);
    return GateError(absl::StatusCode::kInvalidArgument, Reason::kNonFinite,
                     View(cycles_),
                     absl::StrCat("value ", initialization.first_non_finite,
                                  " is not finite"));
  }
  if (initialization.source != nullptr) return absl::OkStatus();
  const int64_t value_bytes = initialization.values.size_bytes();
  if (value_bytes == 0) {
    ACCRUE_ASSIGN_OR_RETURN(
        sorted, SortInitializers(initialization.initializers, spec_, *layout_));
    return absl::OkStatus();
  }
  const int64_t want =
      layout_->elems() * kernels::EncodedBytes(initialization.encoding);
  if (value_bytes == want) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kWrongShape,
                   absl::StrCat("values for model \"", name(),
                                "\": ", value_bytes, " bytes, want ", want));
}

absl::Status ModelImpl::NewBuffers(
    std::vector<std::shared_ptr<GroupBuffer>>& groups) {
  for (size_t g = 0; g < spec_.groups.size(); ++g) {
    ACCRUE_ASSIGN_OR_RETURN(std::shared_ptr<GroupBuffer> buffer,
                            store_->NewBuffer(static_cast<int>(g)));
    groups.push_back(std::move(buffer));
  }
  return absl::OkStatus();
}

// What is not durable is never visible.
void ModelImpl::AppendFirst(const FirstVersionPtr& first) {
  Version version;
  version.lineage = RandomId();
  BeginChange change;
  {
    MutexLock lock(&mu_);
    change.state = FirstState(version);
    change.state.is_beginning = true;
    change.state.fenced_sessions = sessions_.fenced();
  }
  change.parameters = first->groups;
  Commit(std::move(change), [this, first, version](absl::Status durable) {
    if (durable.ok()) {
      PublishFirst(first, version);
    } else {
      EndInitialize(*first, std::move(durable));
    }
    return false;
  });
}

void ModelImpl::PublishFirst(const FirstVersionPtr& first,
                             const Version& version) {
  const std::vector<std::shared_ptr<GroupBuffer>>& groups = first->groups;
  Publication::Facts facts;
  facts.version = version;
  facts.group_versions.resize(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    facts.changed_groups.push_back(static_cast<int32_t>(g));
    facts.changed_bytes +=
        groups[g]->elems() * static_cast<int64_t>(sizeof(float));
  }
  std::shared_ptr<const Publication> news;
  // Kept past the lock: the last reference to a publication calls Unpark.
  const std::shared_ptr<const Publication> before = newest();
  bool anew = false;
  absl::Status gone;
  {
    MutexLock lock(&mu_);
    if (deleted_) {
      gone = Usable();
    } else {
      anew = CountsAsPoisoned();
      if (anew) StartAnew();
      version_ = version;
      newest_ = store_->Publish(std::move(facts), std::move(first->groups));
      news = newest_;
    }
  }
  if (!gone.ok()) return EndInitialize(*first, std::move(gone));
  if (anew) {
    ACCRUE_LOG(info, "model \"{}\" was poisoned and begins anew", name());
    environment_.on_poison_change(false);
  }
  // Whoever subscribes after the answer hears of later versions only.
  Announce(std::move(news));
  EndInitialize(*first, version);
}

// As it was created, but for its sessions, and for what is counted of traffic.
void ModelImpl::StartAnew() {
  const size_t groups = spec_.groups.size();
  poison_reason_.clear();
  rules_ = GroupRules(spec_);
  cycles_.assign(groups, rule::CycleState());
  gathering_ = Gathering(groups);
  clip_norms_.assign(groups, 0.0);
  noise_.assign(groups, std::nullopt);
  micro_steps_ = 1;
  recent_micro_steps_ = rule::RecentMicroSteps();
  k_changes_.clear();
  folded_pushes_ = 0;
  sessions_.ForgetPushes();
  NextWindow();
  window_ = 0;  // as FirstState has it: a restart counts from there
  loss_sum_ = 0;
  loss_count_ = 0;
  last_loss_.reset();
  short_cycles_ = 0;
}

}  // namespace accrue
