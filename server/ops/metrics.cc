#include "server/ops/metrics.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "server/model/model.h"

namespace accrue {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

struct ModelReading {
  std::string name;
  std::optional<ModelDescription> described;  // none: damaged, or left out
  std::optional<KeptReading> kept;
};

template <typename Reading>
struct Metric {
  const char* name;
  MetricType type;
  const char* help;
  // None: the reading has nothing of it.
  std::optional<double> (*value)(const Reading& reading);
};

constexpr Metric<ProcessReading> kProcessMetrics[] = {
    {"accrue_draining", MetricType::Gauge,
     "1 once the daemon ends: it takes no new pushes",
     [](const ProcessReading& reading) -> std::optional<double> {
       return reading.draining ? 1 : 0;
     }},
    {"accrue_ingest_reserved_bytes", MetricType::Gauge,
     "Ingest memory that pushes on their way in hold",
     [](const ProcessReading& reading) -> std::optional<double> {
       return reading.ingest_reserved_bytes;
     }},
    {"accrue_ingest_memory_bytes", MetricType::Gauge,
     "What accrue_ingest_reserved_bytes may come to, --ingest_memory",
     [](const ProcessReading& reading) -> std::optional<double> {
       return reading.ingest_memory_bytes;
     }},
    {"accrue_checkpoint_memory_waits_total", MetricType::Counter,
     "Times that a model's folds waited for --checkpoint_memory",
     [](const ProcessReading& reading) -> std::optional<double> {
       return reading.checkpoint_memory_waits;
     }},
    {"accrue_checkpoint_memory_wait_seconds_total", MetricType::Counter,
     "How long folds waited for --checkpoint_memory, counted at each wait's "
     "end",
     [](const ProcessReading& reading) -> std::optional<double> {
       return absl::ToDoubleSeconds(reading.checkpoint_memory_wait);
     }},
};

constexpr Metric<ModelDescription> kModelMetrics[] = {
    {"accrue_folded_pushes", MetricType::Gauge,
     "t, pushes folded into the model; a restore or a crash may take it back",
     [](const ModelDescription& model) -> std::optional<double> {
       return model.folded_pushes;
     }},
    {"accrue_version", MetricType::Gauge,
     "Number of the newest version, within its lineage",
     [](const ModelDescription& model) -> std::optional<double> {
       if (!model.version) return std::nullopt;
       return model.version->number;
     }},
    {"accrue_lost_pushes_total", MetricType::Counter,
     "Answered pushes that were lost when the process before this one ended; "
     "it stays so until the next begins",
     [](const ModelDescription& model) -> std::optional<double> {
       return model.lost_pushes;
     }},
    {"accrue_lost_pushes_uncertain", MetricType::Gauge,
     "1: more than accrue_lost_pushes_total may be lost, nobody knows how many",
     [](const ModelDescription& model) -> std::optional<double> {
       return model.loss_uncertain ? 1 : 0;
     }},
    {"accrue_sessions", MetricType::Gauge, "Live sessions of workers",
     [](const ModelDescription& model) -> std::optional<double> {
       return model.pushed_workers.size() + model.missing_workers.size();
     }},
};

constexpr Metric<KeptReading> kKeptMetrics[] = {
    {"accrue_checkpoint_timestamp_seconds", MetricType::Gauge,
     "When the newest checkpoint was made, since the epoch",
     [](const KeptReading& kept) -> std::optional<double> {
       return absl::ToDoubleSeconds(kept.checkpoint_made - absl::UnixEpoch());
     }},
    {"accrue_checkpoint_folded_pushes", MetricType::Gauge,
     "t of the newest checkpoint",
     [](const KeptReading& kept) -> std::optional<double> {
       return kept.checkpoint_folded_pushes;
     }},
    {"accrue_journal_bytes", MetricType::Gauge,
     "Segments of the journal that the newest checkpoint needs",
     [](const KeptReading& kept) -> std::optional<double> {
       if (!kept.journal) return std::nullopt;
       return kept.journal->bytes;
     }},
    {"accrue_journal_limit_bytes", MetricType::Gauge,
     "What starts a checkpoint, --journal_limit; at twice that, pushes are "
     "refused",
     [](const KeptReading& kept) -> std::optional<double> {
       if (!kept.journal) return std::nullopt;
       return kept.journal->limit_bytes;
     }},
};

void AddSample(std::vector<ClientMetric::Label> labels, double value,
               MetricFamily& family) {
  ClientMetric& sample = family.metric.emplace_back();
  sample.label = std::move(labels);
  if (family.type == MetricType::Counter) {
    sample.counter.value = value;
  } else {
    sample.gauge.value = value;
  }
}

template <typename Reading>
MetricFamily FamilyOf(const Metric<Reading>& metric) {
  return {metric.name, metric.help, metric.type, {}};
}

MetricFamily BuildInfo(const std::string& version) {
  MetricFamily family{"accrue_build_info",
                      "1; the label says the daemon's version",
                      MetricType::Gauge,
                      {}};
  AddSample({{"version", version}}, 1, family);
  return family;
}

MetricFamily Usable(const std::vector<ModelReading>& models) {
  MetricFamily family{"accrue_usable",
                      "1; 0: the model is poisoned, damaged or left out",
                      MetricType::Gauge,
                      {}};
  for (const ModelReading& model : models) {
    const bool usable = model.described.has_value() &&
                        model.described->state != ModelState::kPoisoned;
    AddSample({{"model", model.name}}, usable ? 1 : 0, family);
  }
  return family;
}

// Those of one table, which show one part of a model's reading.
template <typename Part, size_t kCount>
void AddFamilies(const Metric<Part> (&metrics)[kCount],
                 std::optional<Part> ModelReading::*part,
                 const std::vector<ModelReading>& models,
                 std::vector<MetricFamily>& families) {
  for (const Metric<Part>& metric : metrics) {
    MetricFamily& family = families.emplace_back(FamilyOf(metric));
    for (const ModelReading& model : models) {
      if (!(model.*part)) continue;
      const std::optional<double> value = metric.value(*(model.*part));
      if (value) AddSample({{"model", model.name}}, *value, family);
    }
  }
}

}  // namespace

std::vector<MetricFamily> Metrics::Collect() const {
  std::vector<MetricFamily> families = {BuildInfo(readings_.version)};
  const ProcessReading process = readings_.process();
  for (const Metric<ProcessReading>& metric : kProcessMetrics) {
    AddSample({}, *metric.value(process),
              families.emplace_back(FamilyOf(metric)));
  }

  std::vector<ModelReading> models;
  for (const ModelStore::Listed& listed : readings_.models->List(
           /*after=*/"", std::numeric_limits<int64_t>::max())) {
    ModelReading& reading = models.emplace_back();
    reading.name = listed.name;
    if (listed.model.ok()) reading.described = (*listed.model)->Describe();
    reading.kept = readings_.kept(listed.name);
  }
  families.push_back(Usable(models));
  AddFamilies(kModelMetrics, &ModelReading::described, models, families);
  AddFamilies(kKeptMetrics, &ModelReading::kept, models, families);
  return families;
}

}  // namespace accrue
