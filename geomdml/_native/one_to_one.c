/* Distances of float32 points one to one, where leading dimensions broadcast: `geomdml/_core/one_to_one/native.py`.

   Pair (i, k) of n1 times n2 is that of the points i·a + k·b of either side, with strides a and b that may be 0. What is
   known of points that are in many pairs is tabled before; that of the others is found where it is needed. */

#include "hyperbolic.h"

/* One side of the pairs: points (n, d), strides, and the table: facts (FACTS, n) and unit vectors (d, n), or NULL. */
typedef struct { const float *x; const double *facts, *unit; int64_t n, a, b; } Side;

/* W points of a side, those past `count` the last of them again. `unit` holds W numbers a coordinate. */
typedef struct { double facts[FACTS][W], unit[UNTABLED][W]; } Block;

/* Of points from `first` on; 0 if one is not ordinary. */
INLINE int describe_points(const float *x, int64_t first, int count, int64_t d, int64_t chart, double c,
                           double facts[FACTS][W], double *unit, int64_t unit_row) {
    double squares[W] = {0.0}, length[W], gap[W], inverse[W];
    const float *from = x + first * d;
    for (int64_t k = 0; k < d; k++) {
        double *to = unit + k * unit_row;
        if (count == W) LANES {
            double coordinate = from[l * d + k];
            to[l] = coordinate;
            squares[l] += coordinate * coordinate;
        }
        else for (int l = 0; l < W; l++) {
            to[l] = from[(l < count ? l : count - 1) * d + k];
            squares[l] += to[l] * to[l];
        }
    }
    LANES gap[l] = 1.0 - c * squares[l];
    LANES length[l] = sqrt(squares[l]);
    LANES {
        double root = length[l];
        inverse[l] = 1.0 / (root > 1e-300 ? root : 1e-300);
    }
    if (chart == BALL)
        for (int l = 0; l < W; l++)
            if (gap[l] < 1e-3) gap[l] = exact_gap(from + (l < count ? l : count - 1) * d, d, c);
    for (int64_t k = 0; k < d; k++) LANES unit[k * unit_row + l] *= inverse[l];
    return describe(chart, c, length, inverse, gap, facts);
}

/* The table of n points. 0 if a point is not ordinary. */
FOR_EACH_CPU int64_t geomdml_table(const float *x, int64_t n, int64_t d, int64_t chart, double c, double *facts,
                                   double *unit, double *room) {
    int ordinary = 1;
    for (int64_t start = 0; start < n && ordinary; start += W) {
        int count = n - start < W ? (int)(n - start) : W;
        double mine[FACTS][W];
        ordinary &= describe_points(x, start, count, d, chart, c, mine, room, W);
        for (int f = 0; f < FACTS; f++) memcpy(facts + f * n + start, mine[f], count * sizeof(double));
        for (int64_t k = 0; k < d; k++) memcpy(unit + k * n + start, room + k * W, count * sizeof(double));
    }
    return ordinary;
}

/* Numbers of W points of a table, `step` (0 or 1) apart. */
INLINE const double *load(const double *from, int64_t first, int64_t step, int count, double *room) {
    if (step == 1 && count == W) return from + first;
    if (step == 0) LANES room[l] = from[first];
    else for (int l = 0; l < W; l++) room[l] = from[first + (l < count ? l : count - 1)];
    return room;
}
INLINE const double *fact_of(const Side *side, Block *block, int which, int64_t first, int count) {
    return side->facts ? load(side->facts + which * side->n, first, side->b, count, block->facts[which])
                       : block->facts[which];
}
INLINE const double *coordinate_of(const Side *side, Block *block, int64_t k, int64_t first, int count, double *room) {
    return side->facts ? load(side->unit + k * side->n, first, side->b, count, room) : block->unit[k];
}

/* A point of the side as the exact functions take it: lane l of a block. */
INLINE Point point_of(const Side *side, const Block *block, int64_t first, int l, int64_t d) {
    int64_t i = first + l * side->b;
    if (side->facts) return (Point){side->x + i * d, side->facts, side->n, i};
    return (Point){side->x + i * d, block->facts[0], W, l};
}

/* The distances of rows `first` to `last` of n1 times n2 pairs; and where `kept` is not NULL what the gradient is made of, four numbers for every pair: by x
   it is kept[0]·x − kept[1]·y, by y it is kept[2]·y − kept[3]·x. The number of HARD pairs, which are NaN and kept as 0;
   −1 if a point is not ordinary. */
FOR_EACH_CPU int64_t geomdml_pairs(const Side *of_x, const Side *of_y, int64_t n1, int64_t n2, int64_t first,
                                   int64_t last, int64_t d, int64_t chart,
                                   double c, float *out, double *kept) {
    double inverse_root = 1.0 / sqrt(c);
    int64_t hard = 0, pairs = n1 * n2;
    Block xs, ys;
    for (int64_t i = first; i < last; i++)
        for (int64_t start = 0; start < n2; start += W) {
            int count = n2 - start < W ? (int)(n2 - start) : W, low = 0;
            int64_t p = i * of_x->a + start * of_x->b, q = i * of_y->a + start * of_y->b;
            double s[W] = {0.0}, apart[W], room[2][W];
            float result[W];
            if (!of_x->facts && !describe_points(of_x->x, p, count, d, chart, c, xs.facts, xs.unit[0], W)) return -1;
            if (!of_y->facts && !describe_points(of_y->x, q, count, d, chart, c, ys.facts, ys.unit[0], W)) return -1;
            for (int64_t k = 0; k < d; k++) {
                const double *u = coordinate_of(of_x, &xs, k, p, count, room[0]);
                const double *v = coordinate_of(of_y, &ys, k, q, count, room[1]);
                LANES s[l] += (u[l] - v[l]) * (u[l] - v[l]);
            }
            const double *sinh_a = fact_of(of_x, &xs, HALF_SINH, p, count), *sinh_b = fact_of(of_y, &ys, HALF_SINH, q, count);
            const double *cosh_a = fact_of(of_x, &xs, HALF_COSH, p, count), *cosh_b = fact_of(of_y, &ys, HALF_COSH, q, count);
            const double *sa = fact_of(of_x, &xs, SINH, p, count), *sb = fact_of(of_y, &ys, SINH, q, count);
            const double *more_a = fact_of(of_x, &xs, BEYOND, p, count), *more_b = fact_of(of_y, &ys, BEYOND, q, count);
            _Pragma("omp simd reduction(+ : low)") for (int l = 0; l < W; l++) {
                s[l] *= 0.25;
                apart[l] = sinh_a[l] * cosh_b[l] - cosh_a[l] * sinh_b[l];
                double delta = delta_of(apart[l] * apart[l] + sa[l] * sb[l] * s[l]);
                result[l] = (float)((delta + (more_a[l] + more_b[l])) * inverse_root);
                low += s[l] < NEAR_DIFFERENCE;
            }
            int what[W] = {0};
            if (low)
                for (int l = 0; l < count; l++) {
                    if (!(s[l] < NEAR_DIFFERENCE)) continue;
                    Point a = point_of(of_x, &xs, p, l, d), b = point_of(of_y, &ys, q, l, d);
                    what[l] = near_pair(a, b, d, chart, c, &s[l], &apart[l]);
                    double half = what[l] ? 0.0 : apart[l] * apart[l] + sa[l] * sb[l] * s[l];
                    result[l] = what[l] == HARD ? NAN : (float)(2.0 * asinh(sqrt(half)) * inverse_root);
                    hard += what[l] == HARD;
                }
            memcpy(out + i * n2 + start, result, count * sizeof(float));
            if (!kept) continue;
            const double *ca = fact_of(of_x, &xs, COSH, p, count), *cb = fact_of(of_y, &ys, COSH, q, count);
            const double *stretch_a = fact_of(of_x, &xs, STRETCH, p, count), *stretch_b = fact_of(of_y, &ys, STRETCH, q, count);
            const double *lever_a = fact_of(of_x, &xs, LEVER, p, count), *lever_b = fact_of(of_y, &ys, LEVER, q, count);
            const double *length_a = fact_of(of_x, &xs, LENGTH, p, count), *length_b = fact_of(of_y, &ys, LENGTH, q, count);
            double made[4][W];
            LANES {
                Slopes slope = slopes_of(what[l] ? 0.0 : inverse_root, s[l], apart[l], sa[l], ca[l], sb[l], cb[l]);
                double cosine = 1.0 - 2.0 * s[l], t = slope.across / 2.0;
                double across_a = t * sb[l] * lever_a[l], across_b = t * sa[l] * lever_b[l];
                double long_a = length_a[l] > 1e-300 ? length_a[l] : 1e-300, long_b = length_b[l] > 1e-300 ? length_b[l] : 1e-300;
                double one = 1.0 / (long_a * long_b), inverse_a = one * long_b, inverse_b = one * long_a;
                inverse_a = length_a[l] > 0.0 ? inverse_a : 0.0;
                inverse_b = length_b[l] > 0.0 ? inverse_b : 0.0;
                made[0][l] = (slope.by_a * stretch_a[l] + across_a * cosine) * inverse_a;
                made[1][l] = across_a * inverse_b;
                made[2][l] = (slope.by_b * stretch_b[l] + across_b * cosine) * inverse_b;
                made[3][l] = across_b * inverse_a;
            }
            for (int f = 0; f < 4; f++) memcpy(kept + f * pairs + i * n2 + start, made[f], count * sizeof(double));
        }
    return hard;
}

/* Where a side's gradient goes: straight to `out` (n, d) if each of its points is in one pair, else to `sums` (d, n). */
typedef struct { float *out; double *sums; } Gradient;

INLINE void put(const Side *side, Gradient to, int64_t first, int64_t k, int64_t d, int count, const double *value) {
    if (to.out) {
        for (int l = 0; l < count; l++) to.out[(first + l) * d + k] = (float)value[l];
    } else if (side->b == 0) {
        double sum = 0.0;
        _Pragma("omp simd reduction(+ : sum)") for (int l = 0; l < W; l++) sum += value[l];
        to.sums[k * side->n + first] += sum;
    } else {
        for (int l = 0; l < count; l++) to.sums[k * side->n + first + l] += value[l];
    }
}

/* A coordinate of W points. */
INLINE void coordinates(const Side *side, int64_t first, int64_t k, int64_t d, int count, double *to) {
    const float *from = side->x + first * d + k;
    if (side->b == 0) LANES to[l] = from[0];
    else if (count == W) LANES to[l] = from[l * d];
    else for (int l = 0; l < W; l++) to[l] = from[(l < count ? l : count - 1) * d];
}

/* The gradient of the distances, from the gradient g of the matrix and what was kept. */
FOR_EACH_CPU void geomdml_pairs_gradient(const Side *of_x, const Side *of_y, int64_t n1, int64_t n2, int64_t first,
                                         int64_t last, int64_t d,
                                         const float *g, int64_t g_row, int64_t g_column, const double *kept,
                                         const Gradient *to_x, const Gradient *to_y) {
    int64_t pairs = n1 * n2;
    for (int64_t i = first; i < last; i++)
        for (int64_t start = 0; start < n2; start += W) {
            int count = n2 - start < W ? (int)(n2 - start) : W;
            int64_t p = i * of_x->a + start * of_x->b, q = i * of_y->a + start * of_y->b;
            double factor[4][W], given[W], x[W], y[W], by_x[W], by_y[W];
            for (int l = 0; l < W; l++) given[l] = l < count ? g[i * g_row + (start + l) * g_column] : 0.0;
            for (int f = 0; f < 4; f++) {
                const double *from = kept + f * pairs + i * n2 + start;
                if (count == W) LANES factor[f][l] = given[l] * from[l];
                else for (int l = 0; l < W; l++) factor[f][l] = l < count ? given[l] * from[l] : 0.0;
            }
            for (int64_t k = 0; k < d; k++) {
                coordinates(of_x, p, k, d, count, x);
                coordinates(of_y, q, k, d, count, y);
                LANES {
                    by_x[l] = factor[0][l] * x[l] - factor[1][l] * y[l];
                    by_y[l] = factor[2][l] * y[l] - factor[3][l] * x[l];
                }
                put(of_x, *to_x, p, k, d, count, by_x);
                put(of_y, *to_y, q, k, d, count, by_y);
            }
        }
}
