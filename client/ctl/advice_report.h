// AdviceReport: advice as tables for people, and as JSON for programs.

#ifndef ACCRUE_CLIENT_CTL_ADVICE_REPORT_H_
#define ACCRUE_CLIENT_CTL_ADVICE_REPORT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "client/ctl/advice.h"
#include "nlohmann/json.hpp"

namespace accrue::ctl {

// `bottleneck`: one of the decision tree's, or empty: the whole tree.
std::string AdviceText(const ModelAdvice& advice, absl::string_view bottleneck);
nlohmann::ordered_json AdviceJson(const ModelAdvice& advice,
                                  absl::string_view bottleneck);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_ADVICE_REPORT_H_
