/* Hyperbolic distances of float32 points in the three charts, one pair at a time: what the kernels share.

   A point lies in a direction u from the origin, at unit-curvature distance A. For two points

       q = sinh²(δ/2) = sinh²((A − B)/2) + sinh A sinh B s,   s = |u − v|²/4,   δ = log(1 + 2(q + √(q + q²)))

   and their distance is δ/√c. All arithmetic is in double. Loops run over a fixed number of lanes, padded, so that a
   pair has the same bits wherever it stands. The same formulas in torch: geomdml/_core/all_pairs, one_to_one.py. */

#ifndef GEOMDML_HYPERBOLIC_H
#define GEOMDML_HYPERBOLIC_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif
#define INLINE static inline __attribute__((always_inline))
#define LANES _Pragma("omp simd") for (int l = 0; l < W; l++)

enum { W = 16 };                                /* lanes */
enum { UNTABLED = 64 };                         /* dimensions up to which points in one pair need no table */
enum { TANGENT, BALL, LORENTZ };                /* charts */
enum { EQUAL = -1, HARD = -2 };                 /* in place of s: no gradient; left to the caller */
/* What is known of a point; the layout in Python. INVERSE is 1/LENGTH, or 0; LEVER is SINH/LENGTH, or its limit. */
enum { LENGTH, INVERSE, HALF_SINH, HALF_COSH, SINH, COSH, BEYOND, STRETCH, LEVER, FACTS };


static const double LARGEST_HALF = 85.0;        /* of A/2; beyond, δ grows by what is cut off */
static const double LEAST_SINH = 1e-30;         /* of sinh A; below, a weight may leave float32 */
static const double LEAST_GAP = 1e-12;          /* of 1 − c|x|²; below, digits are lost */
static const double NEAR_PRODUCT = 1e-8;        /* of s as 1 − <u, v>; below, it cancels */
static const double NEAR_DIFFERENCE = 1e-15;    /* of s as |u − v|²; below, A − B needs care */

INLINE int64_t bits(double x) { int64_t i; memcpy(&i, &x, 8); return i; }
INLINE double from_bits(int64_t i) { double x; memcpy(&x, &i, 8); return x; }

/* e^x − 1 for 0 ≤ x ≤ 700, by its series within ln(2)/2 of a multiple of ln 2. */
INLINE double expm1_lane(double x) {
    double shifted = x * 1.4426950408889634 + 0x1.8p52, k = shifted - 0x1.8p52;
    double r = (x - k * 0x1.62e42fefap-1) - k * 0x1.cf79abc9e3b3ap-40;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    double scale = from_bits((bits(shifted) + 1023) << 52);
    return scale * p + (scale - 1.0);
}

/* log(1 + x) for 0 ≤ x < 2^1023, by the series of artanh within √½ and √2 of a power of 2. */
INLINE double log1p_lane(double x) {
    const int64_t root_half = 0x3fe6a09e667f3bcd;
    double u = 1.0 + x, lost = x - (u - 1.0);
    uint64_t i = (uint64_t)(bits(u) - root_half);
    double k = from_bits((int64_t)((i >> 52) | 0x4330000000000000)) - 0x1p52;
    double f = from_bits((int64_t)(i & 0x000fffffffffffff) + root_half) - 1.0;
    double inverse = 1.0 / ((2.0 + f) * u), s = f * u * inverse, z = s * s; /* one division for two */
    double p = 2.0 / 21.0;
    p = p * z + 2.0 / 19.0;
    p = p * z + 2.0 / 17.0;
    p = p * z + 2.0 / 15.0;
    p = p * z + 2.0 / 13.0;
    p = p * z + 2.0 / 11.0;
    p = p * z + 2.0 / 9.0;
    p = p * z + 2.0 / 7.0;
    p = p * z + 2.0 / 5.0;
    p = p * z + 2.0 / 3.0;
    return k * 0.6931471805599453 + (2.0 * s + (s * z * p + lost * (2.0 + f) * inverse));
}

/* q, its root √(q + q²), and δ by both. */
INLINE double q_of(double s, double apart, double sa, double sb) { return apart * apart + sa * sb * s; }
INLINE double root_of(double q) { return sqrt(q + q * q); }
INLINE double delta_of(double q, double root) { return log1p_lane(2.0 * (q + root)); }

/* 1 − c|x|² with a sum of twice the digits. */
static double exact_gap(const float *x, int64_t d, double c) {
    double sum = 0.0, rest = 0.0;
    for (int64_t i = 0; i < d; i++) {
        double square = (double)x[i] * x[i], total = sum + square, part = total - sum;
        rest += (sum - (total - part)) + (square - part);
        sum = total;
    }
    double product = c * sum, error = fma(c, sum, -product);
    return (1.0 - product) - error - c * rest;
}

/* What the chart says of points of some length, 1/length (of 0 any) and gap; 1 if all are ordinary. */
INLINE int describe(int64_t chart, double c, const double *length, const double *inverse, const double *gap,
                    double facts[FACTS][W]) {
    double root = sqrt(c), ordinary[W];
    if (chart == TANGENT) {
        LANES {
            double half = root * length[l], cut = half > LARGEST_HALF ? LARGEST_HALF : half;
            double e = expm1_lane(cut), shrunk = e / (e + 1.0);
            facts[HALF_SINH][l] = (e + shrunk) / 2.0;
            facts[HALF_COSH][l] = 1.0 + (e - shrunk) / 2.0;
            facts[BEYOND][l] = 2.0 * (half - cut);
            facts[STRETCH][l] = 2.0 * root;
            ordinary[l] = 1.0;
        }
    } else if (chart == BALL) {
        LANES {
            double cosh = 1.0 / sqrt(gap[l]);
            facts[HALF_SINH][l] = root * length[l] * cosh;
            facts[HALF_COSH][l] = cosh;
            facts[BEYOND][l] = 0.0;
            facts[STRETCH][l] = 2.0 * root * (cosh * cosh);
            ordinary[l] = gap[l] > LEAST_GAP ? 1.0 : 0.0;
        }
    } else {
        LANES {
            double sinh = root * length[l], cosh = sqrt(1.0 + sinh * sinh), half = sqrt((1.0 + cosh) / 2.0);
            facts[HALF_SINH][l] = sinh / (2.0 * half);
            facts[HALF_COSH][l] = half;
            facts[BEYOND][l] = 0.0;
            facts[STRETCH][l] = root / cosh;
            ordinary[l] = sinh < 1e70 ? 1.0 : 0.0;
        }
    }
    int wrong = 0;
    _Pragma("omp simd reduction(| : wrong)") for (int l = 0; l < W; l++) {
        double sinh = 2.0 * facts[HALF_SINH][l] * facts[HALF_COSH][l];
        facts[LENGTH][l] = length[l];
        facts[INVERSE][l] = length[l] > 0.0 ? inverse[l] : 0.0;
        facts[SINH][l] = sinh;
        facts[COSH][l] = 1.0 + 2.0 * facts[HALF_SINH][l] * facts[HALF_SINH][l];
        facts[LEVER][l] = length[l] > 0.0 ? sinh * inverse[l] : facts[STRETCH][l];
        wrong |= !(length[l] < 1e300 && (sinh >= LEAST_SINH || length[l] == 0.0) && ordinary[l] > 0.0);
    }
    return !wrong;
}

/* A point among others: its coordinates, and what is known of it. */
typedef struct { const float *x; const double *facts; int64_t n, i; } Point;
INLINE double fact(Point p, int which) { return p.facts[which * p.n + p.i]; }

/* s and sinh((A − B)/2) of two points in nearly the same direction, or EQUAL or HARD. */
static int near_pair(Point a, Point b, int64_t d, int64_t chart, double c, double *s, double *apart) {
    double la = fact(a, LENGTH), lb = fact(b, LENGTH), ia = la > 0.0 ? 1.0 / la : 0.0, ib = lb > 0.0 ? 1.0 / lb : 0.0;
    double squares = 0.0, difference = 0.0;
    int equal = 1;
    for (int64_t k = 0; k < d; k++) {
        double x = a.x[k], y = b.x[k], turn = x * ia - y * ib;
        squares += turn * turn;
        difference += (x - y) * (x + y);
        equal &= x == y;
    }
    if (equal) return EQUAL;
    if (fact(a, BEYOND) > 0.0 || fact(b, BEYOND) > 0.0) return HARD;
    difference /= la + lb; /* |x| − |y| */
    *s = squares / 4.0;
    if (chart == TANGENT) {
        double half = sqrt(c) * difference, e = expm1(fabs(half));
        *apart = copysign((e + e / (e + 1.0)) / 2.0, half);
    } else {
        double below = chart == LORENTZ ? fact(a, COSH) + fact(b, COSH)
                                        : 1.0 / (fact(a, HALF_COSH) * fact(a, HALF_COSH)) + c * la * difference;
        double tanh = sqrt(c) * difference / below;
        if (!(fabs(tanh) < 0.999)) return HARD;
        *apart = tanh / sqrt(1.0 - tanh * tanh);
    }
    double both = fact(a, SINH) * fact(b, SINH), q = *apart * *apart + both * *s;
    if (*s < 1e-17 && (both * 2.5e-8 > sqrt(q + q * q) || both * 1e-16 > q)) return HARD;
    return 0;
}

/* Derivatives of δ for a pair, times g, by the root of its q. */
typedef struct { double by_a, by_b, across; } Slopes; /* across: t, to be multiplied by sinh A sinh B */

INLINE Slopes slopes_of(double g, double root, double s, double apart, double sa, double ca, double sb, double cb) {
    double t = g / (root > 1e-150 ? root : 1e-150);
    double radial = t * apart * sqrt(1.0 + apart * apart), around = t * s;
    return (Slopes){radial + around * (ca * sb), around * (cb * sa) - radial, t};
}

#endif
