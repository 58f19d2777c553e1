// Metrics: what Prometheus reads of the daemon (METRICS.md has all of it).
//
// Order.     a scrape asks each model what GetModel does: short locks, and no
//            wait for a device, the disk or an executor
// Threading. safe
#ifndef ACCRUE_SERVER_OPS_METRICS_H_
#define ACCRUE_SERVER_OPS_METRICS_H_

#include <utility>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "server/ops/readings.h"

namespace accrue {

class Metrics : public prometheus::Collectable {
 public:
  explicit Metrics(Readings readings) : readings_(std::move(readings)) {}

  // A family without samples is there all the same.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Readings readings_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_OPS_METRICS_H_
