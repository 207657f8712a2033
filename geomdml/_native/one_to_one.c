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
        if (count == W) LANES to[l] = from[l * d + k];
        else {
            double last = from[(count - 1) * d + k];
            LANES to[l] = last;
            for (int l = 0; l < count; l++) to[l] = from[l * d + k];
        }
        LANES squares[l] += to[l] * to[l];
    }
    LANES {
        double root = sqrt(squares[l]);
        length[l] = root;
        gap[l] = 1.0 - c * squares[l];
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
INLINE void load(const double *from, int64_t first, int64_t step, int count, double *to) {
    if (step == 0) {
        double all = from[first];
        LANES to[l] = all;
    } else {
        double last = from[first + count - 1];
        LANES to[l] = last;
        for (int l = 0; l < count; l++) to[l] = from[first + l];
    }
}

/* Makes the block of W points of a side, where their numbers are not read from the table. A row has the same point in
   all of its blocks if b is 0. 0 if a point is not ordinary. */
INLINE int make_block(const Side *side, Block *block, int64_t first, int count, int starts_row, int64_t d,
                      int64_t chart, double c) {
    if (!side->facts) return describe_points(side->x, first, count, d, chart, c, block->facts, block->unit[0], W);
    if (side->b ? count == W : !starts_row) return 1;
    for (int f = 0; f < FACTS; f++) load(side->facts + f * side->n, first, side->b, count, block->facts[f]);
    for (int64_t k = 0; k < d && d <= UNTABLED; k++)
        load(side->unit + k * side->n, first, side->b, count, block->unit[k]);
    return 1;
}
INLINE int in_table(const Side *side, int count) { return side->facts && side->b && count == W; }
INLINE const double *fact_of(const Side *side, const Block *block, int which, int64_t first, int count) {
    return in_table(side, count) ? side->facts + which * side->n + first : block->facts[which];
}
INLINE const double *coordinate_of(const Side *side, const Block *block, int64_t k, int64_t first, int count, int64_t d,
                                   double *room) {
    if (in_table(side, count)) return side->unit + k * side->n + first;
    if (d <= UNTABLED) return block->unit[k];
    load(side->unit + k * side->n, first, side->b, count, room);
    return room;
}

/* Numbers of a block into an array, of which it may be the end. */
#define STORE(TYPE, TO, FROM)                                                                                          \
    if (count == W) memcpy(TO, FROM, W * sizeof(TYPE));                                                                \
    else for (int l = 0; l < count; l++) (TO)[l] = (FROM)[l]

/* The same fact of both sides of the pairs of a block. */
#define FACTS_OF(A, B, WHICH)                                                                                          \
    const double *A = fact_of(of_x, &xs, WHICH, p, count), *B = fact_of(of_y, &ys, WHICH, q, count)

/* A point of the side as the exact functions take it: lane l of a block. */
INLINE Point point_of(const Side *side, const Block *block, int64_t first, int l, int64_t d) {
    int64_t i = first + l * side->b;
    if (side->facts) return (Point){side->x + i * d, side->facts, side->n, i};
    return (Point){side->x + i * d, block->facts[0], W, l};
}

/* The distances of rows `first` to `last` of n1 times n2 pairs; and where `kept` is not NULL what the gradient is made
   of, three numbers for every pair: by x it is kept[0]·x − kept[2]·y, by y it is kept[1]·y − kept[2]·x. The number of
   HARD pairs, which are NaN and kept as 0; −1 if a point is not ordinary. */
FOR_EACH_CPU int64_t geomdml_pairs(const Side *of_x, const Side *of_y, int64_t n1, int64_t n2, int64_t first,
                                   int64_t last, int64_t d, int64_t chart, double c, float *out, double *kept) {
    double inverse_root = 1.0 / sqrt(c);
    int64_t hard = 0, pairs = n1 * n2;
    Block xs, ys;
    for (int64_t i = first; i < last; i++)
        for (int64_t start = 0; start < n2; start += W) {
            int count = n2 - start < W ? (int)(n2 - start) : W, low = 0;
            int64_t p = i * of_x->a + start * of_x->b, q = i * of_y->a + start * of_y->b;
            double s[W] = {0.0}, apart[W], root[W], room[2][W];
            float result[W];
            if (!make_block(of_x, &xs, p, count, start == 0, d, chart, c)) return -1;
            if (!make_block(of_y, &ys, q, count, start == 0, d, chart, c)) return -1;
            for (int64_t k = 0; k < d; k++) {
                const double *u = coordinate_of(of_x, &xs, k, p, count, d, room[0]);
                const double *v = coordinate_of(of_y, &ys, k, q, count, d, room[1]);
                LANES s[l] += (u[l] - v[l]) * (u[l] - v[l]);
            }
            FACTS_OF(sinh_a, sinh_b, HALF_SINH);
            FACTS_OF(cosh_a, cosh_b, HALF_COSH);
            FACTS_OF(sa, sb, SINH);
            FACTS_OF(more_a, more_b, BEYOND);
            _Pragma("omp simd reduction(+ : low)") for (int l = 0; l < W; l++) {
                s[l] *= 0.25;
                apart[l] = sinh_a[l] * cosh_b[l] - cosh_a[l] * sinh_b[l];
                double half = q_of(s[l], apart[l], sa[l], sb[l]);
                root[l] = root_of(half);
                result[l] = (float)((delta_of(half, root[l]) + (more_a[l] + more_b[l])) * inverse_root);
                low += s[l] < NEAR_DIFFERENCE;
            }
            int what[W] = {0};
            if (low)
                for (int l = 0; l < count; l++) {
                    if (!(s[l] < NEAR_DIFFERENCE)) continue;
                    Point a = point_of(of_x, &xs, p, l, d), b = point_of(of_y, &ys, q, l, d);
                    what[l] = near_pair(a, b, d, chart, c, &s[l], &apart[l]);
                    double half = what[l] ? 0.0 : q_of(s[l], apart[l], sa[l], sb[l]);
                    root[l] = root_of(half);
                    result[l] = what[l] == HARD ? NAN : (float)(2.0 * asinh(sqrt(half)) * inverse_root);
                    hard += what[l] == HARD;
                }
            STORE(float, out + i * n2 + start, result);
            if (!kept) continue;
            FACTS_OF(ca, cb, COSH);
            FACTS_OF(stretch_a, stretch_b, STRETCH);
            FACTS_OF(lever_a, lever_b, LEVER);
            FACTS_OF(inverse_a, inverse_b, INVERSE);
            double made[3][W];
            LANES {
                double scale = what[l] ? 0.0 : inverse_root;
                Slopes slope = slopes_of(scale, root[l], s[l], apart[l], sa[l], ca[l], sb[l], cb[l]);
                double cosine = 1.0 - 2.0 * s[l], t = slope.across / 2.0;
                made[0][l] = (slope.by_a * stretch_a[l] + t * sb[l] * lever_a[l] * cosine) * inverse_a[l];
                made[1][l] = (slope.by_b * stretch_b[l] + t * sa[l] * lever_b[l] * cosine) * inverse_b[l];
                made[2][l] = t * lever_a[l] * lever_b[l];
            }
            for (int f = 0; f < 3; f++) STORE(double, kept + f * pairs + i * n2 + start, made[f]);
        }
    return hard;
}

/* Where a side's gradient goes: straight to `out` (n, d) if each of its points is in one pair, else to `sums` (d, n). */
typedef struct { float *out; double *sums; } Gradient;

/* Coordinate k of W points. */
INLINE void coordinates(const Side *side, int64_t first, int64_t k, int64_t d, int count, double *to) {
    const float *from = side->x + first * d + k;
    if (side->b == 0) {
        double all = from[0];
        LANES to[l] = all;
    } else if (count == W) LANES to[l] = from[l * d];
    else {
        LANES to[l] = 0.0;
        for (int l = 0; l < count; l++) to[l] = from[l * d];
    }
}

/* Adds coordinate k of the gradient by W points; where they are one point, to `sum` first. */
INLINE void put(const Side *side, Gradient to, int64_t first, int64_t k, int64_t d, int count, const double *value,
                double *sum) {
    if (side->b == 0) LANES sum[l] += value[l];
    else if (!to.out) for (int l = 0; l < count; l++) to.sums[k * side->n + first + l] += value[l];
    else {
        float narrow[W], *place = to.out + first * d + k;
        LANES narrow[l] = (float)value[l];
        if (count == W) for (int l = 0; l < W; l++) place[l * d] = narrow[l];
        else for (int l = 0; l < count; l++) place[l * d] = narrow[l];
    }
}
INLINE void put_sum(const Side *side, Gradient to, int64_t first, int64_t k, int64_t d, double *sum) {
    if (side->b) return;
    _Pragma("GCC unroll 8") for (int half = W / 2; half; half /= 2)
        _Pragma("GCC unroll 8") for (int l = 0; l < half; l++) sum[l] += sum[l + half];
    if (to.out) to.out[first * d + k] = (float)sum[0];
    else to.sums[k * side->n + first] += sum[0];
}

enum { TOGETHER = 4 }; /* blocks, whose factors stay near for all coordinates */

/* The gradient of the distances, from the gradient g of the matrix and what was kept. */
FOR_EACH_CPU void geomdml_pairs_gradient(const Side *of_x, const Side *of_y, int64_t n1, int64_t n2, int64_t first,
                                         int64_t last, int64_t d, const float *g, int64_t g_row, int64_t g_column,
                                         const double *kept, const Gradient *to_x, const Gradient *to_y) {
    int64_t pairs = n1 * n2;
    double factor[TOGETHER][3][W];
    for (int64_t i = first; i < last; i++)
        for (int64_t from = 0; from < n2; from += TOGETHER * W) {
            int64_t to = n2 - from < TOGETHER * W ? n2 : from + TOGETHER * W, p = i * of_x->a, q = i * of_y->a;
            for (int64_t start = from; start < to; start += W) {
                int count = to - start < W ? (int)(to - start) : W;
                double given[W];
                if (count == W && g_column == 1) LANES given[l] = g[i * g_row + start + l];
                else for (int l = 0; l < count; l++) given[l] = g[i * g_row + (start + l) * g_column];
                for (int f = 0; f < 3; f++) {
                    const double *of = kept + f * pairs + i * n2 + start;
                    double *made = factor[(start - from) / W][f];
                    if (count == W) LANES made[l] = given[l] * of[l];
                    else {
                        LANES made[l] = 0.0;
                        for (int l = 0; l < count; l++) made[l] = given[l] * of[l];
                    }
                }
            }
            for (int64_t k = 0; k < d; k++) {
                double sum_x[W] = {0.0}, sum_y[W] = {0.0};
                for (int64_t start = from; start < to; start += W) {
                    int count = to - start < W ? (int)(to - start) : W;
                    int64_t at_x = p + start * of_x->b, at_y = q + start * of_y->b;
                    double (*by)[W] = factor[(start - from) / W], x[W], y[W], by_x[W], by_y[W];
                    coordinates(of_x, at_x, k, d, count, x);
                    coordinates(of_y, at_y, k, d, count, y);
                    LANES {
                        by_x[l] = by[0][l] * x[l] - by[2][l] * y[l];
                        by_y[l] = by[1][l] * y[l] - by[2][l] * x[l];
                    }
                    put(of_x, *to_x, at_x, k, d, count, by_x, sum_x);
                    put(of_y, *to_y, at_y, k, d, count, by_y, sum_y);
                }
                put_sum(of_x, *to_x, p, k, d, sum_x);
                put_sum(of_y, *to_y, q, k, d, sum_y);
            }
        }
}
