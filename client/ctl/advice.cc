#include "client/ctl/advice.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "client/ctl/format.h"
#include "client/ctl/table.h"

namespace accrue::ctl {
namespace {

using client::ModelDescription;
using client::Noise;
using client::OptimizerSpec;
using Json = nlohmann::ordered_json;

// The largest that the daemon takes.
constexpr double kMaxK = 1 << 20;

// Batch sizes from which the article's table has the next row.
constexpr int64_t kMediumBatch = 64;
constexpr int64_t kLargeBatch = 256;

// Whether the second moment is the mean of a cycle's squares.
bool StepsBySquaresMean(const OptimizerSpec& optimizer) {
  return (optimizer.optimizer == client::Optimizer::kAdam ||
          optimizer.optimizer == client::Optimizer::kAdamW) &&
         optimizer.decay == client::Decay::kPerCycle &&
         optimizer.buffering == client::Buffering::kEmbedded &&
         optimizer.second_moment == client::SecondMoment::kArticle;
}

int64_t CeilK(double value) {
  return static_cast<int64_t>(std::ceil(std::clamp(value, 1.0, kMaxK)));
}

// CV^2; not by way of its root, which would round it.
double NoiseScale(const Noise& noise) {
  return noise.variation_at_least ? noise.variation * noise.variation
                                  : noise.variance / noise.mean_squared;
}

double PowerLeft(const Noise& noise, int64_t k) {
  return (noise.mean_squared + noise.variance / static_cast<double>(k)) /
         (noise.mean_squared + noise.variance);
}

KChoice Choice(const char* by, int64_t k, const std::optional<Noise>& noise,
               const OptimizerSpec& optimizer) {
  KChoice choice{.by = by, .k = k};
  if (!noise.has_value()) return choice;
  choice.at_least = noise->variation_at_least;
  choice.noise_to_signal = NoiseScale(*noise) / static_cast<double>(k);
  choice.power_left = PowerLeft(*noise, k);
  if (StepsBySquaresMean(optimizer)) {
    choice.step_factor = std::sqrt(*choice.power_left);
  }
  return choice;
}

std::vector<int64_t> ByBatchSize(int64_t batch_size) {
  if (batch_size < kMediumBatch) return {4, 8};
  if (batch_size < kLargeBatch) return {2, 4};
  return {1};
}

// "-", "1.25", "at least 1.25".
std::string RealText(const std::optional<double>& value, bool at_least) {
  if (!value.has_value()) return "-";
  return absl::StrCat(at_least ? "at least " : "", HumanReal(*value));
}

std::string MeasurementsText(const std::vector<GroupAdvice>& advice) {
  Table table({{"GROUP"},
               {"MEASURED AT", Table::kRight},
               {"SIGMA^2", Table::kRight},
               {"MU^2", Table::kRight},
               {"CV", Table::kRight},
               {"CV^2", Table::kRight}});
  for (const GroupAdvice& group : advice) {
    if (!group.noise.has_value()) {
      table.AddRow({group.group, "not yet", "-", "-", "-", "-"});
      continue;
    }
    const Noise& noise = *group.noise;
    const bool least = noise.variation_at_least;
    table.AddRow(
        {group.group, absl::StrCat("update ", HumanCount(noise.updates)),
         HumanReal(noise.variance),
         least ? std::string("not seen") : HumanReal(noise.mean_squared),
         RealText(noise.variation, least), RealText(NoiseScale(noise), least)});
  }
  return table.ToString();
}

std::string ChoicesText(const std::vector<GroupAdvice>& advice) {
  Table table({{"GROUP"},
               {"K BY"},
               {"K", Table::kRight},
               {"NOISE/SIGNAL", Table::kRight},
               {"C_K", Table::kRight},
               {"ADAM'S STEP", Table::kRight}});
  for (const GroupAdvice& group : advice) {
    for (const KChoice& choice : group.choices) {
      const bool least = choice.at_least;
      const bool k_least = least && (choice.by == "CV" || choice.by == "CV^2");
      table.AddRow(
          {group.group, choice.by,
           absl::StrCat(k_least ? "at least " : "", HumanCount(choice.k)),
           RealText(choice.noise_to_signal, least),
           RealText(choice.power_left, false),
           choice.step_factor.has_value()
               ? absl::StrCat("x ", HumanReal(*choice.step_factor))
               : "-"});
    }
  }
  return table.ToString();
}

std::string TreeText(absl::string_view bottleneck) {
  Table table({{"BOTTLENECK"}, {"ADVICE"}});
  for (const Branch& branch : DecisionTree()) {
    if (!bottleneck.empty() && bottleneck != branch.bottleneck) continue;
    table.AddRow({branch.bottleneck, branch.answer});
  }
  return table.ToString();
}

Json ToJson(const Noise& noise) {
  return {{"variance", noise.variance},
          {"mean_squared", noise.mean_squared},
          {"variation", noise.variation},
          {"variation_at_least", noise.variation_at_least},
          {"noise_scale", NoiseScale(noise)},
          {"updates", noise.updates}};
}

Json ToJson(const KChoice& choice) {
  Json json = {{"by", choice.by}, {"k", choice.k}};
  const auto put = [&](const char* key, const std::optional<double>& value) {
    if (value.has_value()) json[key] = *value;
  };
  put("noise_to_signal", choice.noise_to_signal);
  put("power_left", choice.power_left);
  put("step_factor", choice.step_factor);
  return json;
}

}  // namespace

std::vector<GroupAdvice> Advise(const ModelDescription& model,
                                std::optional<int64_t> batch_size) {
  std::vector<GroupAdvice> advice;
  const OptimizerSpec& optimizer = model.spec.optimizer;
  for (const client::GroupPosition& group : model.groups) {
    GroupAdvice& added = advice.emplace_back();
    added.group = group.group;
    added.noise = group.noise;
    const auto add = [&](const char* by, int64_t k) {
      added.choices.push_back(Choice(by, k, group.noise, optimizer));
    };
    add("in force", group.k);
    if (group.noise.has_value()) {
      add("CV", CeilK(group.noise->variation));
      add("CV^2", CeilK(NoiseScale(*group.noise)));
    }
    if (!batch_size.has_value()) continue;
    for (const int64_t k : ByBatchSize(*batch_size)) add("batch size", k);
  }
  return advice;
}

const std::vector<Branch>& DecisionTree() {
  static const auto& tree = *new std::vector<Branch>{
      {"memory",
       "update every k pushes with decay per_cycle and buffering embedded: no "
       "accumulation buffer; sliding decays beside it are optional"},
      {"stability",
       "decay sliding with update_every 1: more momentum, an update a push"},
      {"communication",
       "update every k pushes, and let workers sum up locally (micro_steps): "
       "then they send and pull once a k-th as often"},
      {"none", "k 1, as usual"},
  };
  return tree;
}

std::string AdviceText(const std::vector<GroupAdvice>& advice,
                       absl::string_view bottleneck) {
  return absl::StrCat(
      MeasurementsText(advice), "\n", ChoicesText(advice),
      "\nk by CV leaves CV times as much noise as signal (in power), k by "
      "CV^2 as much as signal.\n\n",
      TreeText(bottleneck));
}

Json AdviceJson(const std::vector<GroupAdvice>& advice,
                absl::string_view bottleneck) {
  Json json;
  json["groups"] = Json::array();
  for (const GroupAdvice& group : advice) {
    Json& added = json["groups"].emplace_back();
    added["group"] = group.group;
    if (group.noise.has_value()) added["noise"] = ToJson(*group.noise);
    added["choices"] = Json::array();
    for (const KChoice& choice : group.choices) {
      added["choices"].push_back(ToJson(choice));
    }
  }
  for (const Branch& branch : DecisionTree()) {
    json["decision_tree"][branch.bottleneck] = branch.answer;
    if (branch.bottleneck == bottleneck) json["answer"] = branch.answer;
  }
  return json;
}

}  // namespace accrue::ctl
