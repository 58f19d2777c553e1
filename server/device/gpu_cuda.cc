#include "server/device/gpu_cuda.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/device/card_cuda.h"
#include "server/device/no_memory.h"

namespace accrue {
namespace {

// Our kernels are compiled for this compute capability and above.
constexpr int kMinMajor = 8;

// A small model's copies and kernels take about as long as the wake-up of a
// thread that sleeps: so long a wait looks before it sleeps.
constexpr std::chrono::microseconds kPolling(50);

using CardPtr = std::shared_ptr<Card>;

class CudaMemory : public Buffer::Storage {
 public:
  // `free` is cudaFree or cudaFreeHost.
  CudaMemory(CardPtr card, void* data, int64_t size_bytes,
             cudaError_t (*free)(void*), MemoryLedger::Charge charge)
      : card_(std::move(card)),
        data_(data),
        size_bytes_(size_bytes),
        free_(free),
        charge_(std::move(charge)) {}
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;
  ~CudaMemory() override {
    const bool pinned = free_ == cudaFreeHost;
    // What lies on a lost device is gone with it; what is the host's may still
    // be given back.
    if (!pinned && !card_->health().ok()) return;
    card_->Enter();
    const cudaError_t error = free_(data_);
    if (error == cudaSuccess) return;
    card_->Log(card_->Check(error, "freeing memory"));
    if (pinned) charge_.Keep();
  }

  void* data() const override { return data_; }
  int64_t size_bytes() const override { return size_bytes_; }

 private:
  const CardPtr card_;
  void* const data_;
  const int64_t size_bytes_;
  cudaError_t (*const free_)(void*);
  MemoryLedger::Charge charge_;
};

class CudaEvent : public Event {
 public:
  CudaEvent(CardPtr card, cudaEvent_t event)
      : card_(std::move(card)), event_(event) {}
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent() override {
    if (!card_->Use().ok()) return;
    card_->Log(card_->Check(cudaEventDestroy(event_), "cudaEventDestroy"));
  }

  absl::Status Wait() override {
    card_->Enter();
    const auto end = std::chrono::steady_clock::now() + kPolling;
    cudaError_t error = cudaErrorNotReady;
    do {
      error = cudaEventQuery(event_);
    } while (error == cudaErrorNotReady &&
             std::chrono::steady_clock::now() < end);
    if (error == cudaErrorNotReady) {
      cudaGetLastError();  // or a launch after this would seem to have failed
      error = cudaEventSynchronize(event_);
    }
    ACCRUE_RETURN_IF_ERROR(card_->Check(error, "waiting for a stream's work"));
    return card_->health();
  }

  cudaEvent_t get() const { return event_; }

 private:
  const CardPtr card_;
  const cudaEvent_t event_;
};

class CudaStream : public Stream {
 public:
  CudaStream(CardPtr card, cudaStream_t stream)
      : card_(std::move(card)), stream_(stream) {}
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  ~CudaStream() override {
    const bool lost = !card_->health().ok();
    const absl::Status ended = Synchronize();
    if (lost) return;  // and the stream with it, as was told
    card_->Log(ended);
    card_->Log(card_->Check(cudaStreamDestroy(stream_), "cudaStreamDestroy"));
  }

  absl::Status CopyToDevice(void* to, const void* from,
                            int64_t size_bytes) override {
    return Copy(to, from, size_bytes, cudaMemcpyHostToDevice);
  }

  absl::Status CopyToHost(void* to, const void* from,
                          int64_t size_bytes) override {
    return Copy(to, from, size_bytes, cudaMemcpyDeviceToHost);
  }

  absl::Status Zero(void* at, int64_t size_bytes) override {
    ACCRUE_RETURN_IF_ERROR(card_->Use());
    return card_->Check(
        cudaMemsetAsync(at, 0, static_cast<size_t>(size_bytes), stream_),
        absl::StrCat("cudaMemsetAsync of ", size_bytes, " bytes"));
  }

  absl::Status Record(Event& event) override {
    ACCRUE_RETURN_IF_ERROR(card_->Use());
    return card_->Check(
        cudaEventRecord(static_cast<CudaEvent&>(event).get(), stream_),
        "cudaEventRecord");
  }

  absl::Status Synchronize() override {
    card_->Enter();
    ACCRUE_RETURN_IF_ERROR(
        card_->Check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"));
    return card_->health();
  }

  Card& card() { return *card_; }
  cudaStream_t get() const { return stream_; }

 private:
  absl::Status Copy(void* to, const void* from, int64_t size_bytes,
                    cudaMemcpyKind kind) {
    ACCRUE_RETURN_IF_ERROR(card_->Use());
    return card_->Check(
        cudaMemcpyAsync(to, from, static_cast<size_t>(size_bytes), kind,
                        stream_),
        absl::StrCat("cudaMemcpyAsync of ", size_bytes, " bytes"));
  }

  const CardPtr card_;
  const cudaStream_t stream_;
};

absl::StatusOr<std::unique_ptr<CudaStream>> MakeStream(CardPtr card) {
  ACCRUE_RETURN_IF_ERROR(card->Use());
  cudaStream_t stream = nullptr;
  ACCRUE_RETURN_IF_ERROR(
      card->Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                  "cudaStreamCreateWithFlags"));
  return std::make_unique<CudaStream>(std::move(card), stream);
}

class CudaGpu : public Gpu {
 public:
  CudaGpu(CardPtr card, std::string product, std::unique_ptr<Stream> zeroing)
      : card_(std::move(card)),
        product_(std::move(product)),
        zeroing_(std::move(zeroing)) {}

  std::string name() const override { return card_->name(); }
  std::string product() const override { return product_; }

  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override;
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override;

  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override {
    return MakeStream(card_);
  }

  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override {
    ACCRUE_RETURN_IF_ERROR(card_->Use());
    cudaEvent_t event = nullptr;
    ACCRUE_RETURN_IF_ERROR(card_->Check(
        cudaEventCreateWithFlags(
            &event, cudaEventDisableTiming | cudaEventBlockingSync),
        "cudaEventCreateWithFlags"));
    return std::make_unique<CudaEvent>(card_, event);
  }

  absl::StatusOr<Memory> memory() override {
    ACCRUE_RETURN_IF_ERROR(card_->Use());
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    ACCRUE_RETURN_IF_ERROR(card_->Check(
        cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo"));
    return Memory{.free_bytes = static_cast<int64_t>(free_bytes),
                  .total_bytes = static_cast<int64_t>(total_bytes)};
  }

  absl::Status health() const override { return card_->health(); }

 private:
  // Why there is no memory, as an error of ours; or the device's own.
  absl::Status NoMemoryFor(cudaError_t error, int64_t size_bytes,
                           MemoryTag tag);

  const CardPtr card_;
  const std::string product_;
  const std::unique_ptr<Stream> zeroing_;
};

absl::Status CudaGpu::NoMemoryFor(cudaError_t error, int64_t size_bytes,
                                  MemoryTag tag) {
  absl::Status status =
      card_->Check(error, absl::StrCat("allocating ", size_bytes, " bytes of ",
                                       MemoryTagName(tag)));
  if (error != cudaErrorMemoryAllocation) return status;
  ACCRUE_ASSIGN_OR_RETURN(const Memory now, memory());
  return NoMemory(name(),
                  absl::StrCat("no memory for ", size_bytes, " bytes of ",
                               MemoryTagName(tag), ": ", now.free_bytes, " of ",
                               now.total_bytes, " bytes are free"));
}

absl::StatusOr<Buffer> CudaGpu::Allocate(int64_t size_bytes, MemoryTag tag,
                                         MemoryLedger* ledger) {
  ACCRUE_RETURN_IF_ERROR(card_->Use());
  if (size_bytes < 0) {
    return NoMemoryFor(cudaErrorMemoryAllocation, size_bytes, tag);
  }
  void* data = nullptr;
  const cudaError_t error =
      cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(size_bytes, 1)));
  if (error != cudaSuccess) return NoMemoryFor(error, size_bytes, tag);
  Buffer buffer(std::make_unique<CudaMemory>(
      card_, data, size_bytes, cudaFree,
      ledger ? ledger->Add(tag, size_bytes) : MemoryLedger::Charge()));
  ACCRUE_RETURN_IF_ERROR(zeroing_->Zero(data, size_bytes));
  ACCRUE_RETURN_IF_ERROR(zeroing_->Synchronize());
  return buffer;
}

absl::StatusOr<Buffer> CudaGpu::AllocateHost(int64_t size_bytes, MemoryTag tag,
                                             MemoryLedger* ledger) {
  ACCRUE_RETURN_IF_ERROR(card_->Use());
  const auto size = static_cast<size_t>(std::max<int64_t>(size_bytes, 1));
  void* data = nullptr;
  const cudaError_t error =
      size_bytes < 0 ? cudaErrorMemoryAllocation
                     : cudaHostAlloc(&data, size, cudaHostAllocPortable);
  if (error == cudaErrorMemoryAllocation || error == cudaErrorOperatingSystem) {
    cudaGetLastError();
    return NoMemory(
        name(), absl::StrCat("the host has no memory to pin for ", size_bytes,
                             " bytes of ", MemoryTagName(tag), ": ",
                             CudaErrorText(error)));
  }
  ACCRUE_RETURN_IF_ERROR(card_->Check(
      error, absl::StrCat("cudaHostAlloc of ", size_bytes, " bytes")));
  std::memset(data, 0, size);
  return Buffer(std::make_unique<CudaMemory>(
      card_, data, size_bytes, cudaFreeHost,
      ledger ? ledger->Add(tag, size_bytes) : MemoryLedger::Charge()));
}

absl::StatusOr<cudaDeviceProp> Properties(int index) {
  cudaDeviceProp properties;
  ACCRUE_RETURN_IF_ERROR(Card(index).Check(
      cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties"));
  if (properties.major >= kMinMajor) return properties;
  return absl::FailedPreconditionError(
      absl::StrCat(Card(index).name(), ": ", properties.name,
                   " has compute capability ", properties.major, ".",
                   properties.minor, ", and ", kMinMajor, ".0 is needed"));
}

absl::StatusOr<std::unique_ptr<Gpu>> Open(int index) {
  ACCRUE_ASSIGN_OR_RETURN(const cudaDeviceProp properties, Properties(index));
  auto card = std::make_shared<Card>(index);
  // Threads that wait for the device sleep: the cores are for folding.
  ACCRUE_RETURN_IF_ERROR(
      card->Check(cudaInitDevice(index, cudaDeviceScheduleBlockingSync,
                                 cudaInitDeviceFlagsAreValid),
                  "cudaInitDevice"));
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<Stream> zeroing, MakeStream(card));
  return std::make_unique<CudaGpu>(card, properties.name, std::move(zeroing));
}

// How many devices there are, at least one.
absl::StatusOr<int> DeviceCount() {
  int version = 0;
  if (cudaDriverGetVersion(&version) == cudaSuccess && version == 0) {
    return absl::NotFoundError("no CUDA driver is installed");
  }
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error != cudaSuccess) {
    return absl::NotFoundError(
        absl::StrCat("no CUDA device: ", CudaErrorText(error)));
  }
  if (count == 0) return absl::NotFoundError("no CUDA device");
  return count;
}

}  // namespace

absl::StatusOr<cudaStream_t> CudaStreamOf(Stream& stream) {
  auto& cuda = static_cast<CudaStream&>(stream);
  ACCRUE_RETURN_IF_ERROR(cuda.card().Use());
  cudaGetLastError();  // or CheckLaunch would report what was before
  return cuda.get();
}

absl::Status CheckCuda(Stream& stream, cudaError_t error,
                       absl::string_view what) {
  return static_cast<CudaStream&>(stream).card().Check(error, what);
}

absl::Status CheckLaunch(Stream& stream, absl::string_view kernel) {
  return static_cast<CudaStream&>(stream).card().Check(
      cudaGetLastError(), absl::StrCat("launch of ", kernel));
}

absl::StatusOr<std::vector<std::unique_ptr<Gpu>>> OpenCudaGpus(
    const std::vector<int>& indices) {
  ACCRUE_ASSIGN_OR_RETURN(const int count, DeviceCount());
  std::vector<std::unique_ptr<Gpu>> gpus;
  for (const int index : indices) {
    if (index < 0 || index >= count) {
      return absl::NotFoundError(
          absl::StrCat("no device cuda:", index, ", there are ", count));
    }
    ACCRUE_ASSIGN_OR_RETURN(gpus.emplace_back(), Open(index));
  }
  if (!indices.empty()) return gpus;

  absl::Status unfit;
  for (int index = 0; index < count; ++index) {
    auto gpu = Open(index);
    if (gpu.ok()) {
      gpus.push_back(*std::move(gpu));
    } else {
      ACCRUE_LOG(warn, "a GPU is left out: {}", gpu.status().message());
      unfit.Update(gpu.status());
    }
  }
  if (gpus.empty()) return unfit;
  return gpus;
}

}  // namespace accrue
