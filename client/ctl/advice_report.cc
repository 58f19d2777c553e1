#include "client/ctl/advice_report.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/ctl/format.h"
#include "client/ctl/table.h"

namespace accrue::ctl {
namespace {

using client::Noise;
using Json = nlohmann::ordered_json;

// "-", "1.25", "at least 1.25".
std::string RealText(const std::optional<double>& value, bool at_least) {
  if (!value.has_value()) return "-";
  return absl::StrCat(at_least ? "at least " : "", HumanReal(*value));
}

// "0.318", "at most 0.318": of what falls as CV rises.
std::string FallingText(double value, bool at_most) {
  return absl::StrCat(at_most ? "at most " : "", HumanReal(value));
}

// "4", "at least 49", "8 (rule: 5)".
std::string KText(const KChoice& choice) {
  const bool least =
      choice.at_least && (choice.by == "CV" || choice.by == "CV^2");
  std::string text =
      absl::StrCat(least ? "at least " : "", HumanCount(choice.k));
  if (choice.k != choice.rule_k) {
    absl::StrAppend(&text, " (rule: ", HumanCount(choice.rule_k), ")");
  }
  if (!choice.nests) absl::StrAppend(&text, " (does not nest)");
  return text;
}

// "C_4 = 0.318".
std::string PowerText(const KChoice& choice) {
  if (!choice.power_left.has_value()) return "-";
  return absl::StrCat("C_", choice.k, " = ",
                      FallingText(*choice.power_left, choice.at_least));
}

std::string MeasurementsText(const ModelAdvice& advice) {
  Table table({{"GROUP"},
               {"MEASURED AT", Table::kRight},
               {"SIGMA^2", Table::kRight},
               {"MU^2", Table::kRight},
               {"CV", Table::kRight},
               {"CV^2", Table::kRight}});
  for (const GroupAdvice& group : advice.groups) {
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

std::string ChoicesText(const ModelAdvice& advice) {
  Table table({{"GROUP"},
               {"K BY"},
               {"K", Table::kRight},
               {"NOISE/SIGNAL", Table::kRight},
               {"IN MOMENTUM", Table::kRight},
               {"C_K", Table::kRight},
               {"ADAM'S STEP", Table::kRight}});
  for (const GroupAdvice& group : advice.groups) {
    for (const KChoice& choice : group.choices) {
      const bool least = choice.at_least;
      table.AddRow(
          {group.group, choice.by, KText(choice),
           RealText(choice.noise_to_signal, least),
           RealText(choice.momentum_noise_to_signal, least), PowerText(choice),
           choice.step_factor.has_value()
               ? absl::StrCat("x ", FallingText(*choice.step_factor, least))
               : "-"});
    }
  }
  return table.ToString();
}

std::string LegendText(const ModelAdvice& advice) {
  std::string text =
      advice.cycles_average
          ? "NOISE/SIGNAL, in power: of the mean of k gradients, CV^2/k; k by "
            "CV leaves CV times as much noise as signal, k by CV^2 as much as "
            "signal. IN MOMENTUM: what its average leaves of that.\n"
          : "With this decay no cycle averages its k gradients, so that k by "
            "CV "
            "and CV^2 is no promise: IN MOMENTUM is what its average leaves, "
            "noise over signal, in power.\n";
  const auto any = [&](auto is) {
    return std::any_of(advice.groups.begin(), advice.groups.end(),
                       [&](const GroupAdvice& group) {
                         return std::any_of(group.choices.begin(),
                                            group.choices.end(), is);
                       });
  };
  if (any([](const KChoice& choice) { return choice.k != choice.rule_k; })) {
    text +=
        "k was rounded up to nest with the other groups' by the same rule, and "
        "to a multiple of the micro_steps in use.\n";
  }
  if (any([](const KChoice& choice) { return !choice.nests; })) {
    text +=
        "Where it does not nest, a cycle that stays as it is allows none that "
        "would, or is itself no multiple of the micro_steps.\n";
  }
  return text;
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
          {"noise_left", noise.noise_left},
          {"updates", noise.updates}};
}

Json ToJson(const KChoice& choice) {
  Json json = {{"by", choice.by},
               {"k", choice.k},
               {"rule_k", choice.rule_k},
               {"nests", choice.nests},
               {"at_least", choice.at_least}};
  const auto put = [&](const char* key, const std::optional<double>& value) {
    if (value.has_value()) json[key] = *value;
  };
  put("noise_to_signal", choice.noise_to_signal);
  put("momentum_noise_to_signal", choice.momentum_noise_to_signal);
  put("power_left", choice.power_left);
  put("step_factor", choice.step_factor);
  return json;
}

}  // namespace

std::string AdviceText(const ModelAdvice& advice,
                       absl::string_view bottleneck) {
  return absl::StrCat(MeasurementsText(advice), "\n", ChoicesText(advice), "\n",
                      LegendText(advice), "\n", TreeText(bottleneck));
}

Json AdviceJson(const ModelAdvice& advice, absl::string_view bottleneck) {
  Json json;
  json["groups"] = Json::array();
  for (const GroupAdvice& group : advice.groups) {
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
