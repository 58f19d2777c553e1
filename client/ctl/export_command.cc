// export: a model's parameters into a safetensors file.

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/ctl/command.h"
#include "client/ctl/description_json.h"
#include "client/ctl/failure.h"
#include "client/ctl/format.h"
#include "client/ctl/local_file.h"
#include "client/ctl/progress.h"
#include "client/ctl/safetensors.h"
#include "client/ctl/transfer.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

using client::Encoding;
using client::TensorSpec;

struct ExportFlags {
  std::string model;
  std::string path;
  std::string encoding = "f32";
  std::vector<std::string> tensors;
  std::string transfer_timeout;
};

// A tensor of this name could not be told from the file's metadata.
absl::Status CheckNames(const std::vector<TensorSpec>& tensors) {
  for (const TensorSpec& tensor : tensors) {
    if (tensor.name == kSafetensorsMetadataKey) {
      return UsageError(absl::StrCat(
          "export: a safetensors file cannot have a tensor \"", tensor.name,
          "\": the format keeps that name for its metadata. Say the others "
          "with --tensors"));
    }
  }
  return absl::OkStatus();
}

// Those that were asked for, in the spec's order.
absl::StatusOr<std::vector<TensorSpec>> Select(
    const client::ModelSpec& spec, const std::vector<std::string>& names) {
  if (names.empty()) return spec.tensors;
  std::vector<TensorSpec> selected;
  for (const TensorSpec& tensor : spec.tensors) {
    if (std::find(names.begin(), names.end(), tensor.name) != names.end()) {
      selected.push_back(tensor);
    }
  }
  for (const std::string& name : names) {
    if (std::none_of(selected.begin(), selected.end(),
                     [&](const TensorSpec& t) { return t.name == name; })) {
      return UsageError(absl::StrCat("export: model \"", spec.name,
                                     "\" has no tensor \"", name, "\""));
    }
  }
  return selected;
}

SafetensorsMetadata Metadata(const std::string& model,
                             const client::PullResult& pulled) {
  // "format" is what some of PyTorch's loaders insist on.
  return {{"format", "pt"},
          {"model", model},
          {"lineage", pulled.version.lineage},
          {"version", absl::StrCat(pulled.version.number)},
          {"folded_pushes", absl::StrCat(pulled.folded_pushes)}};
}

// The arrays go straight into the file, behind room for a header that cannot be
// written yet: it names the version, which is known when it is here.
class Export {
 public:
  Export(std::vector<TensorSpec> tensors, Encoding encoding,
         std::optional<absl::Duration> timeout)
      : tensors_(std::move(tensors)), encoding_(encoding), timeout_(timeout) {}

  absl::StatusOr<client::PullResult> Run(const Context& context,
                                         const client::Model& model,
                                         const std::string& path) {
    constexpr int64_t kLongestNumber = std::numeric_limits<int64_t>::max();
    const size_t header_bytes =
        Header(model.name(), {.version = {.lineage = std::string(32, '0'),
                                          .number = kLongestNumber},
                              .folded_pushes = kLongestNumber})
            .size();
    int64_t array_bytes = 0;
    for (const TensorSpec& tensor : tensors_) {
      array_bytes +=
          client::ElementCount(tensor) * client::ElementBytes(encoding_);
    }
    ACCRUE_ASSIGN_OR_RETURN(
        FileReplacement file,
        FileReplacement::Create(
            path, static_cast<int64_t>(header_bytes) + array_bytes));
    const absl::Span<std::byte> arrays = file.bytes().subspan(header_bytes);
    ACCRUE_ASSIGN_OR_RETURN(const client::PullResult pulled,
                            Pull(context, model, arrays));
    const std::string header = Header(model.name(), pulled, header_bytes);
    if (header.size() != header_bytes) {
      return absl::InternalError("export: the daemon's lineage is too long");
    }
    std::memcpy(file.bytes().data(), header.data(), header_bytes);
    ACCRUE_RETURN_IF_ERROR(file.Commit());
    return pulled;
  }

 private:
  std::string Header(const std::string& model, const client::PullResult& pulled,
                     size_t size_bytes = 0) const {
    return SafetensorsHeader(tensors_, encoding_, Metadata(model, pulled),
                             size_bytes);
  }

  absl::StatusOr<client::PullResult> Pull(const Context& context,
                                          const client::Model& model,
                                          absl::Span<std::byte> arrays) const {
    ProgressBar bar(context.console().err, "export",
                    context.console().err_is_terminal && !context.json(),
                    absl::Now());
    const auto bytes = static_cast<int64_t>(arrays.size());
    client::PullOptions options;
    options.timeout = timeout_.value_or(DefaultTransferTimeout(bytes));
    for (const TensorSpec& tensor : tensors_) {
      options.tensors.push_back(tensor.name);
    }
    options.progress = [&](int64_t received_bytes) {
      bar.Update(received_bytes, bytes, absl::Now());
    };
    const client::PayloadBuffer::Part part = arrays;
    return model.Pull(
        client::PayloadBuffer::Encoded(encoding_, absl::MakeSpan(&part, 1)),
        options);
  }

  const std::vector<TensorSpec> tensors_;
  const Encoding encoding_;
  const std::optional<absl::Duration> timeout_;
};

absl::Status RunExport(const Context& context, const ExportFlags& flags) {
  ACCRUE_ASSIGN_OR_RETURN(const std::optional<absl::Duration> timeout,
                          ParseTransferTimeout(flags.transfer_timeout));
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          context.OpenModel(flags.model));
  ACCRUE_ASSIGN_OR_RETURN(std::vector<TensorSpec> tensors,
                          Select(model.spec(), flags.tensors));
  ACCRUE_RETURN_IF_ERROR(CheckNames(tensors));
  const Encoding encoding = *client::ParseName<Encoding>(flags.encoding);
  Export run(std::move(tensors), encoding, timeout);
  ACCRUE_ASSIGN_OR_RETURN(const client::PullResult pulled,
                          run.Run(context, model, flags.path));
  if (context.json()) {
    context.PrintJson({{"file", flags.path},
                       {"encoding", flags.encoding},
                       {"version", ToJson(pulled.version)},
                       {"folded_pushes", pulled.folded_pushes}});
  }
  context.PrintText(absl::StrCat("wrote version ", pulled.version.number,
                                 " of ", flags.model, " to ", flags.path,
                                 "\n"));
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App& app, Command* chosen) {
  const auto flags = std::make_shared<ExportFlags>();
  CLI::App* command = app.add_subcommand(
      "export",
      "writes the newest parameters to a safetensors file, which it replaces "
      "as a whole or not at all");
  command->add_option("MODEL", flags->model)->required();
  command->add_option("FILE", flags->path)->required();
  command->add_option("--encoding", flags->encoding, "f32, bf16 or f16")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  command
      ->add_option("--tensors", flags->tensors,
                   "these only, separated by commas; default: all")
      ->delimiter(',');
  AddTransferTimeout(*command, &flags->transfer_timeout);
  command->callback([=] {
    *chosen = [=](const Context& context) {
      return RunExport(context, *flags);
    };
  });
}

}  // namespace accrue::ctl
