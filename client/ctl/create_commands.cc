// create, initialize.

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/ctl/command.h"
#include "client/ctl/description_json.h"
#include "client/ctl/description_text.h"
#include "client/ctl/failure.h"
#include "client/ctl/initial_values.h"
#include "client/ctl/local_file.h"
#include "client/ctl/progress.h"
#include "client/ctl/safetensors.h"
#include "client/ctl/spec_file.h"
#include "client/ctl/transfer.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

using client::Encoding;
using client::TensorSpec;

struct CreateFlags {
  std::string path;
  std::string name;
  std::string initialize;
  std::optional<int64_t> seed;
  bool dry_run = false;
};

struct InitializeFlags {
  std::string model;
  std::string initialize;
  std::string values_path;
  std::string import_path;
  std::string transfer_timeout;
  std::optional<int64_t> seed;
  bool restore = false;
};

constexpr char kInitializeHelp[] =
    "first values: zeros, constant:V, uniform:LOW,HIGH, normal:MEAN,STDDEV or "
    "kaiming (normal of variance 2/fan-in, zeros for biases)";

constexpr char kEveryOtherTensor[] = "*";

// What create does with the parameters.
absl::Status InitializeNew(const Context& context, const client::Model& model,
                           const std::vector<client::Initializer>& initializers,
                           int64_t seed) {
  if (initializers.empty()) {
    context.Note(
        "it has no parameters yet: a worker, or accruectl initialize, "
        "brings them");
    return absl::OkStatus();
  }
  ACCRUE_ASSIGN_OR_RETURN(const auto result,
                          model.InitializeWith(initializers, seed));
  if (!result.initialized) context.Note("it had its parameters already");
  return absl::OkStatus();
}

absl::Status Create(const Context& context, const CreateFlags& flags) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text,
                          ReadTextFile(flags.path, context.console().in));
  ACCRUE_ASSIGN_OR_RETURN(
      SpecFile file,
      ParseSpecFile(text, flags.path == "-" ? "standard input" : flags.path));
  if (!flags.name.empty()) file.spec.name = flags.name;
  if (!flags.initialize.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(auto values, ParseInitialValues(flags.initialize));
    file.initializers.push_back(
        {.tensor = kEveryOtherTensor, .values = std::move(values)});
  }
  std::vector<client::Initializer> initializers;
  if (!file.initializers.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(initializers,
                            ResolveInitializers(file.spec, file.initializers));
  }
  if (flags.dry_run) {
    if (context.json()) context.PrintJson(ToJson(file.spec));
    context.PrintText(SpecText(file.spec));
    context.Note("nothing was created");
    return absl::OkStatus();
  }
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, context.Connect());
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          client.CreateOrOpen(file.spec));
  ACCRUE_RETURN_IF_ERROR(
      InitializeNew(context, model, initializers,
                    flags.seed.value_or(file.seed.value_or(0))));
  ACCRUE_ASSIGN_OR_RETURN(const auto description, model.Describe());
  if (context.json()) context.PrintJson(ToJson(description));
  context.PrintText(ModelsText({description}));
  return absl::OkStatus();
}

// The file's arrays in the model's order. They must be of one encoding that the
// daemon takes.
absl::StatusOr<client::Payload> MatchValues(const client::ModelSpec& spec,
                                            const StoredTensors& stored) {
  std::vector<client::Payload::Part> parts;
  std::set<std::string> types;
  for (const TensorSpec& tensor : spec.tensors) {
    const auto found = stored.tensors.find(tensor.name);
    if (found == stored.tensors.end()) {
      return FileError(absl::StrCat("no tensor \"", tensor.name, "\" in it"));
    }
    if (found->second.shape != tensor.shape) {
      return FileError(absl::StrCat("tensor \"", tensor.name, "\": shape [",
                                    absl::StrJoin(found->second.shape, ", "),
                                    "], want [",
                                    absl::StrJoin(tensor.shape, ", "), "]"));
    }
    types.insert(found->second.dtype);
    parts.push_back(found->second.bytes);
  }
  for (const auto encoding :
       {Encoding::kF32, Encoding::kBf16, Encoding::kF16}) {
    const absl::string_view type = SafetensorsType(encoding);
    if (types == std::set<std::string>{std::string(type.data(), type.size())}) {
      return client::Payload::Encoded(encoding, parts);
    }
  }
  return FileError(absl::StrCat("its tensors are ", absl::StrJoin(types, ", "),
                                "; want all F32, all BF16 or all F16"));
}

absl::StatusOr<client::InitializeResult> Send(
    const Context& context, const client::Model& model,
    const client::Payload& values, client::InitializeOptions options) {
  ProgressBar bar(context.console().err, "initialize",
                  context.console().err_is_terminal && !context.json(),
                  absl::Now());
  const int64_t bytes = values.size_bytes();
  if (!options.timeout) options.timeout = DefaultTransferTimeout(bytes);
  options.progress = [&](int64_t sent_bytes) {
    bar.Update(sent_bytes, bytes, absl::Now());
  };
  return model.InitializeValues(values, options);
}

absl::StatusOr<client::InitializeResult> InitializeFromFile(
    const Context& context, const client::Model& model, const std::string& path,
    const client::InitializeOptions& options) {
  ACCRUE_ASSIGN_OR_RETURN(const MappedBytes file, MapFile(path));
  const absl::StatusOr<StoredTensors> stored = ParseSafetensors(file.bytes());
  if (!stored.ok()) {
    return FileError(absl::StrCat(path, ": ", stored.status().message()));
  }
  const absl::StatusOr<client::Payload> values =
      MatchValues(model.spec(), *stored);
  if (!values.ok()) {
    return FileError(absl::StrCat(path, ": ", values.status().message()));
  }
  for (const auto& [name, tensor] : stored->tensors) {
    const auto& tensors = model.spec().tensors;
    if (std::none_of(tensors.begin(), tensors.end(),
                     [&](const TensorSpec& t) { return t.name == name; })) {
      context.Note(absl::StrCat("ignored: tensor \"", name,
                                "\", which the model does not have"));
    }
  }
  return Send(context, model, *values, options);
}

absl::StatusOr<client::InitializeResult> InitializeFromRule(
    const client::Model& model, const InitializeFlags& flags) {
  ACCRUE_ASSIGN_OR_RETURN(auto values, ParseInitialValues(flags.initialize));
  ACCRUE_ASSIGN_OR_RETURN(
      const auto initializers,
      ResolveInitializers(model.spec(), {{.tensor = kEveryOtherTensor,
                                          .values = std::move(values)}}));
  return model.InitializeWith(initializers, flags.seed.value_or(0),
                              {.restore = flags.restore});
}

absl::StatusOr<client::InitializeResult> InitializeFrom(
    const Context& context, const client::Model& model,
    const InitializeFlags& flags, const client::InitializeOptions& options) {
  if (!flags.values_path.empty()) {
    return InitializeFromFile(context, model, flags.values_path, options);
  }
  if (!flags.import_path.empty()) {
    return model.InitializeFromImport(flags.import_path, options);
  }
  return InitializeFromRule(model, flags);
}

absl::Status Initialize(const Context& context, const InitializeFlags& flags) {
  if (!flags.initialize.empty() + !flags.values_path.empty() +
          !flags.import_path.empty() !=
      1) {
    return UsageError(
        "initialize: say --initialize, --values or --import, one of them");
  }
  client::InitializeOptions options = {.restore = flags.restore};
  ACCRUE_ASSIGN_OR_RETURN(options.timeout,
                          ParseTransferTimeout(flags.transfer_timeout));
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          context.OpenModel(flags.model));
  ACCRUE_ASSIGN_OR_RETURN(const auto result,
                          InitializeFrom(context, model, flags, options));
  if (context.json()) {
    context.PrintJson({{"initialized", result.initialized},
                       {"version", ToJson(result.version)}});
  }
  context.PrintText(
      result.initialized
          ? absl::StrCat("initialized ", flags.model, "\n")
          : absl::StrCat(flags.model, " had its parameters already\n"));
  return absl::OkStatus();
}

void AddCreate(CLI::App& app, Command* chosen) {
  const auto flags = std::make_shared<CreateFlags>();
  CLI::App* create = app.add_subcommand(
      "create",
      "creates a model from a spec; one that is there with this very spec is "
      "no error");
  create->add_option("SPEC", flags->path, "YAML or JSON file, - for stdin")
      ->required();
  create->add_option("--name", flags->name, "instead of the spec's name");
  create->add_option("--initialize", flags->initialize,
                     absl::StrCat(kInitializeHelp,
                                  "; for tensors without an initializer in "
                                  "the spec file"));
  create->add_option("--seed", flags->seed,
                     "of initializers; default: the spec file's, else 0");
  create->add_flag("--dry_run", flags->dry_run,
                   "show groups, k and tensors as they would be; the daemon is "
                   "not asked");
  create->footer(
      "A spec has at least:\n"
      "  name: mnist\n"
      "  groups:\n"
      "    - {name: all, k: 4, hyperparameters: {learning_rate: 0.001}}\n"
      "  tensors:\n"
      "    - {name: w, shape: [10, 784]}\n"
      "and means by default: adamw, decay per_cycle, buffering embedded, "
      "second_moment article, epsilon_place outside, learning_rate_scaling "
      "conservative, clip_scope group; k 1, beta1 0.9 (sgd: momentum 0), beta2 "
      "0.999, epsilon 1e-8, no weight decay, clipping or schedule; "
      "max_staleness 0 (synchronous), stale_policy reject, "
      "max_pushes_per_worker 0 (no limit), no cycle_timeout, min_pushes 1, "
      "nominal_weight 1, max_publications 4, durability memory; no "
      "initializers, seed 0. Every "
      "key is explained in client/ctl/example.yaml. `accruectl describe -o "
      "json` shows a model's spec in this form.");
  create->callback([=] {
    *chosen = [=](const Context& context) { return Create(context, *flags); };
  });
}

void AddInitialize(CLI::App& app, Command* chosen) {
  const auto flags = std::make_shared<InitializeFlags>();
  CLI::App* initialize = app.add_subcommand(
      "initialize",
      "gives a model its first parameters; if it has them, they stay");
  initialize->add_option("MODEL", flags->model)->required();
  initialize->add_option("--initialize", flags->initialize, kInitializeHelp);
  initialize->add_option("--seed", flags->seed, "of --initialize; default: 0");
  initialize->add_option("--values", flags->values_path,
                         "a safetensors file, as export writes it");
  initialize->add_option("--import", flags->import_path,
                         "a safetensors file beneath `import` in the daemon's "
                         "data directory");
  initialize->add_flag("--restore", flags->restore,
                       "if the model is poisoned, it begins anew with these");
  AddTransferTimeout(*initialize, &flags->transfer_timeout);
  initialize->callback([=] {
    *chosen = [=](const Context& context) {
      return Initialize(context, *flags);
    };
  });
}

}  // namespace

void AddCreateCommands(CLI::App& app, Command* chosen) {
  AddCreate(app, chosen);
  AddInitialize(app, chosen);
}

}  // namespace accrue::ctl
