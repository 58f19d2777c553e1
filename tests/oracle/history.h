// History: every push of a group under kPerCycle, and from them, by their
// definitions, what noise its moments hold.
//
// Equation.  a gradient of push i is mu + noise, of variance sigma^2/n_i. With
//            a_i its weight in m, c_i in v, over all pushes there ever were,
//              E (m/sum a)^2 = mu^2 + sigma^2 * sum(a^2/n)/(sum a)^2
//              E v/sum c     = mu^2 + sigma^2 * sum(c/n)/sum c
//            two equations for mu^2 and sigma^2. Adam's v of the cycles' mean
//            gradients, over its own mass, would be mu^2 + p*sigma^2 with p
//            the average, by Adam's weights, of sum(w^2/n)/(sum w)^2 of each.
// Numerics.  double; every sum is taken anew.
// Threading. compatible.
#ifndef ACCRUE_TESTS_ORACLE_HISTORY_H_
#define ACCRUE_TESTS_ORACLE_HISTORY_H_

#include <vector>

namespace accrue::oracle {

class History {
 public:
  // With the shares of its gradient in the cycle's mean, and of its square.
  struct Push {
    double in_v = 0;
    double in_m = 0;
    double micro_steps = 1;
  };

  // A cycle that ended, and what m and v decayed by at its beginning.
  void Add(double beta1, double beta2, const std::vector<Push>& pushes);
  // m was multiplied by `factor`.
  void Clip(double factor);

  // v/D2 of an element, as it would be of mean gradients: mu^2, which is at
  // least 0 and at most v/D2, and p*sigma^2.
  double OfMeans(double m, double v_hat) const;

 private:
  struct Cycle {
    double beta1, beta2;
    double clip = 1;
    std::vector<Push> pushes;
  };
  std::vector<Cycle> cycles_;
};

}  // namespace accrue::oracle

#endif  // ACCRUE_TESTS_ORACLE_HISTORY_H_
