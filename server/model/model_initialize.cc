// ModelImpl's first parameters, from a payload or from initializers; and those
// that it begins anew with after a device fault.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
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
  auto shared = std::make_shared<Initialization>(std::move(initialization));
  Run([this, shared = std::move(shared), done = std::move(done)]() mutable {
    return DoInitialize(shared, done);
  });
}

bool ModelImpl::DoInitialize(
    const std::shared_ptr<Initialization>& initialization,
    const Initialized& done) {
  std::vector<Initializer> sorted;
  absl::Status status = CheckInitialization(*initialization, sorted);
  if (status.ok()) {
    // Readers may still hold what a poisoned model has published.
    if (!store_->HasRoom()) {
      return Park(
          {.go_on = [this, initialization,
                     done] { return DoInitialize(initialization, done); },
           .give_up = done});
    }
    return Fill(initialization, std::move(sorted), done);
  }
  done(status);
  return true;
}

bool ModelImpl::Fill(std::shared_ptr<Initialization> initialization,
                     std::vector<Initializer> sorted, Initialized done) {
  std::vector<std::shared_ptr<GroupBuffer>> groups;
  if (absl::Status status = NewBuffers(groups); !status.ok()) {
    initialization.reset();
    done(status);
    return true;
  }
  auto initializers =
      std::make_shared<std::vector<Initializer>>(std::move(sorted));
  auto pieces = std::make_shared<std::vector<Piece>>(CutTensors(*layout_));
  const auto piece_count = static_cast<int64_t>(pieces->size());
  auto write = [this, pieces, initialization, initializers,
                groups](int64_t chunk) {
    const Piece& piece = (*pieces)[chunk];
    const TensorPlace& place = layout_->tensors()[piece.tensor];
    absl::Span<float> out(
        groups[place.group]->floats() + place.group_offset + piece.begin,
        piece.count);
    if (initializers->empty()) {
      DecodeRange(initialization->values, initialization->encoding,
                  place.offset + piece.begin, out);
    } else {
      FillTensor((*initializers)[piece.tensor], initialization->seed,
                 piece.tensor, piece.begin, out);
    }
  };
  environment_.pool->Run(lane_, piece_count, std::move(write),
                         [self = Self(), initialization, groups,
                          done = std::move(done)]() mutable {
                           initialization->values.Clear();
                           initialization->reservation.reset();
                           self->PublishFirst(std::move(groups), done);
                           self->Drive();
                         });
  return false;
}

// Whether it may become the first version. `sorted` stays empty where values
// were sent.
absl::Status ModelImpl::CheckInitialization(
    const Initialization& initialization, std::vector<Initializer>& sorted) {
  {
    MutexLock lock(&mu_);
    // Draining refuses new ones with their headers; this one is in flight.
    ACCRUE_RETURN_IF_ERROR(TakesParameters(initialization.restore));
    if (initialization.first_non_finite >= 0) {
      return GateError(absl::StatusCode::kInvalidArgument, Reason::kNonFinite,
                       View(cycles_),
                       absl::StrCat("value ", initialization.first_non_finite,
                                    " is not finite"));
    }
  }
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

absl::Status ModelImpl::TellShard(
    const std::vector<std::shared_ptr<GroupBuffer>>& groups) {
  bool poisoned;
  {
    MutexLock lock(&mu_);
    poisoned = !poison_reason_.empty();
  }
  if (poisoned) ACCRUE_RETURN_IF_ERROR(shard_->Reset());
  for (size_t g = 0; g < groups.size(); ++g) {
    ACCRUE_RETURN_IF_ERROR(
        shard_->Load(static_cast<int32_t>(g), groups[g]->floats()));
  }
  return absl::OkStatus();
}

void ModelImpl::PublishFirst(std::vector<std::shared_ptr<GroupBuffer>> groups,
                             const Initialized& done) {
  if (absl::Status told = TellShard(groups); !told.ok()) {
    Poison(told);
    absl::Status fault = DeviceFault(told);
    {
      MutexLock lock(&mu_);
      fault = WithVersion(fault, View(cycles_));
    }
    return done(std::move(fault));
  }
  Publication::Facts facts;
  facts.version.lineage = RandomId();
  facts.group_versions.resize(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    facts.changed_groups.push_back(static_cast<int32_t>(g));
    facts.changed_bytes +=
        groups[g]->elems() * static_cast<int64_t>(sizeof(float));
  }
  const Version version = facts.version;
  std::shared_ptr<const Publication> news;
  // Kept past the lock: the last reference to a publication calls Unpark.
  const std::shared_ptr<const Publication> before = newest();
  bool anew;
  {
    MutexLock lock(&mu_);
    anew = CountsAsPoisoned();
    if (!poison_reason_.empty()) StartAnew();
    version_ = version;
    newest_ = store_->Publish(std::move(facts), std::move(groups));
    news = newest_;
  }
  if (anew) {
    ACCRUE_LOG(info, "model \"{}\" was poisoned and begins anew", name());
    environment_.on_poison_change(false);
  }
  // Whoever subscribes after the answer hears of later versions only.
  Announce(std::move(news));
  done(version);
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
  loss_sum_ = 0;
  loss_count_ = 0;
  last_loss_.reset();
  short_cycles_ = 0;
}

}  // namespace accrue
