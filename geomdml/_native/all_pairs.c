/* All distances of two lists of float32 points, tile by tile, with their gradients: `geomdml/_core/all_pairs/native.py`. */

#include "hyperbolic.h"

/* By which sources this library was made: `build.mark_of_sources`. */
int64_t geomdml_sources(void) { return SOURCES; }

/* Of n points (n, d): `facts` (FACTS, n); the unit vectors, (n, d), and in single precision min(1, sinh A) times them,
   where these are not NULL. 0 if a point is not ordinary: not finite, too near the origin or the boundary. */
FOR_EACH_CPU int64_t geomdml_points(const float *x, int64_t n, int64_t d, int64_t chart, double c, double *facts, double *unit,
                                double *scaled, float *scaled_single) {
    int ordinary = 1;
    for (int64_t start = 0; start < n && ordinary; start += W) {
        int count = n - start < W ? (int)(n - start) : W;
        double length[W], inverse[W], gap[W], mine[FACTS][W];
        for (int l = 0; l < W; l++) {
            const float *row = x + (start + (l < count ? l : count - 1)) * d;
            double sum = 0.0;
            _Pragma("omp simd reduction(+ : sum)") for (int64_t k = 0; k < d; k++) sum += (double)row[k] * row[k];
            length[l] = sqrt(sum);
            inverse[l] = length[l] > 0.0 ? 1.0 / length[l] : 0.0;
            gap[l] = 1.0 - c * sum;
            if (chart == BALL && gap[l] < 1e-3) gap[l] = exact_gap(row, d, c);
        }
        ordinary &= describe(chart, c, length, inverse, gap, mine);
        for (int f = 0; f < FACTS; f++) memcpy(facts + f * n + start, mine[f], count * sizeof(double));
        for (int l = 0; l < count; l++) {
            const float *row = x + (start + l) * d;
            double unit_length = inverse[l], part = mine[SINH][l] < 1.0 ? mine[SINH][l] : 1.0;
            int64_t at = (start + l) * d;
            if (unit)
                _Pragma("omp simd") for (int64_t k = 0; k < d; k++) unit[at + k] = row[k] * unit_length;
            if (scaled)
                _Pragma("omp simd") for (int64_t k = 0; k < d; k++) scaled[at + k] = row[k] * (unit_length * part);
            if (scaled_single)
                _Pragma("omp simd") for (int64_t k = 0; k < d; k++) scaled_single[at + k] =
                    (float)(row[k] * (unit_length * part));
        }
    }
    return ordinary;
}

/* The distances of points `first` to `last` of x from all of y, from the products of their unit vectors; and s, for the
   gradient, where `kept` is not NULL. The number of HARD pairs is returned, which are NaN. */
FOR_EACH_CPU int64_t geomdml_tile(const float *x, const double *of_x, int64_t n_x, const float *y, const double *of_y,
                               int64_t n_y, int64_t d, int64_t chart, double c, int64_t first, int64_t last,
                               const double *cosine, int64_t cosine_row, float *out, int64_t out_row, float *kept,
                               int64_t kept_row) {
    double inverse_root = 1.0 / sqrt(c);
    int64_t hard = 0;
    for (int64_t i = first; i < last; i++) {
        double sinh_a = of_x[HALF_SINH * n_x + i], cosh_a = of_x[HALF_COSH * n_x + i], beyond = of_x[BEYOND * n_x + i];
        double both_a = of_x[SINH * n_x + i];
        for (int64_t start = 0; start < n_y; start += W) {
            int count = n_y - start < W ? (int)(n_y - start) : W;
            const double *p = cosine + i * cosine_row + start, *sinh_b = of_y + HALF_SINH * n_y + start,
                         *cosh_b = of_y + HALF_COSH * n_y + start, *both_b = of_y + SINH * n_y + start,
                         *beyond_b = of_y + BEYOND * n_y + start;
            double edge[5][W];
            if (count < W) { /* the last lanes repeat the last pair */
                const double *from[5] = {p, sinh_b, cosh_b, both_b, beyond_b};
                for (int f = 0; f < 5; f++)
                    for (int l = 0; l < W; l++) edge[f][l] = from[f][l < count ? l : count - 1];
                p = edge[0], sinh_b = edge[1], cosh_b = edge[2], both_b = edge[3], beyond_b = edge[4];
            }
            float result[W], s_kept[W];
            int least = 0;
            _Pragma("omp simd reduction(+ : least)") for (int l = 0; l < W; l++) {
                double s = 0.5 - 0.5 * p[l], apart = sinh_a * cosh_b[l] - cosh_a * sinh_b[l];
                double q = apart * apart + both_a * both_b[l] * s;
                result[l] = (float)((delta_of(q, root_of(q)) + (beyond + beyond_b[l])) * inverse_root);
                s_kept[l] = (float)s;
                least += s < NEAR_PRODUCT;
            }
            if (least) {
                for (int l = 0; l < count; l++) {
                    if (!(0.5 - 0.5 * p[l] < NEAR_PRODUCT)) continue;
                    Point a = {x + i * d, of_x, n_x, i}, b = {y + (start + l) * d, of_y, n_y, start + l};
                    double s, apart;
                    int what = near_pair(a, b, d, chart, c, &s, &apart);
                    double half = what ? 0.0 : apart * apart + both_a * both_b[l] * s;
                    result[l] = what == HARD ? NAN : (float)(2.0 * asinh(sqrt(half)) * inverse_root);
                    s_kept[l] = what ? (float)what : (float)s;
                    hard += what == HARD;
                }
            }
            memcpy(out + i * out_row + start, result, count * sizeof(float));
            if (kept) memcpy(kept + i * kept_row + start, s_kept, count * sizeof(float));
        }
    }
    return hard;
}

/* How many of the n numbers that were kept lie from 0 to `soft`, and, in counts[1], how many say HARD. */
FOR_EACH_CPU void geomdml_count(const float *kept, int64_t n, double soft, int64_t *counts) {
    int64_t found = 0, hard = 0;
    float bound = (float)soft;
    _Pragma("omp simd reduction(+ : found, hard)") for (int64_t i = 0; i < n; i++) {
        found += kept[i] >= 0.0f && kept[i] < bound;
        hard += kept[i] == (float)HARD;
    }
    counts[0] = found, counts[1] = hard;
}

/* The gradient by both points of one pair, straight from v − u: added to `by_x` and `by_y`. */
static void single_pair(Point a, Point b, int64_t d, int64_t chart, double c, double g, double *by_x, double *by_y) {
    double s, apart;
    if (near_pair(a, b, d, chart, c, &s, &apart)) return;
    double sa = fact(a, SINH), sb = fact(b, SINH), la = fact(a, LENGTH), lb = fact(b, LENGTH), root = sqrt(c);
    Slopes slope = slopes_of(g, root_of(q_of(s, apart, sa, sb)), s, apart, sa, fact(a, COSH), sb, fact(b, COSH));
    double along_a = slope.by_a * fact(a, STRETCH) / root, along_b = slope.by_b * fact(b, STRETCH) / root;
    double lever_a = slope.across * sa * sb / (2.0 * la * root), lever_b = slope.across * sa * sb / (2.0 * lb * root);
    for (int64_t k = 0; k < d; k++) {
        double u = a.x[k] / la, v = b.x[k] / lb, turn = v - u;
        by_x[k] += along_a * u - lever_a * (turn + 2.0 * s * u);
        by_y[k] += along_b * v - lever_b * (2.0 * s * v - turn);
    }
}

enum { ALONG, INWARD, SUMS }; /* Σ g ∂δ/∂A, and Σ t sinh B cos θ */

/* The weights t max(1, sinh A) max(1, sinh B) of a tile, divided by `scale`, in double or single precision, and sums over
   its rows and columns. Pairs with s below `soft` have weight 0 and are added to
   `single_x` and `single_y`, (n, d), which may be NULL where counts of the values say that there are none. */
#define WEIGHTS(NAME, REAL)                                                                                            \
    FOR_EACH_CPU void NAME(const float *x, const double *of_x, int64_t n_x, const float *y, const double *of_y,        \
                             int64_t n_y, int64_t d, int64_t chart, double c, int64_t first, int64_t last, const float *g,\
                             int64_t g_row, int64_t g_column, const float *kept, int64_t kept_row, double soft,        \
                             double scale, REAL *weights, int64_t weights_row, double *sums_x,                         \
                             double *sums_y, double *single_x, double *single_y) {                                     \
        double inverse = 1.0 / scale;                                                                                  \
        for (int64_t i = first; i < last; i++) {                                                                       \
            double sinh_a = of_x[HALF_SINH * n_x + i], cosh_a = of_x[HALF_COSH * n_x + i];                             \
            double sa = of_x[SINH * n_x + i], ca = of_x[COSH * n_x + i];                                               \
            double above_a = (sa > 1.0 ? sa : 1.0) * inverse;                                                          \
            double along = 0.0, inward = 0.0;                                                                          \
            for (int64_t start = 0; start < n_y; start += W) {                                                         \
                int count = n_y - start < W ? (int)(n_y - start) : W, low = 0;                                         \
                double of_b[4][W], given[W], s[W], weight[W], by_b[W], in_b[W];                                        \
                const int which[4] = {HALF_SINH, HALF_COSH, SINH, COSH};                                               \
                for (int f = 0; f < 4; f++) {                                                                          \
                    const double *from = of_y + which[f] * n_y + start;                                                \
                    if (count == W) memcpy(of_b[f], from, sizeof of_b[f]);                                             \
                    else for (int l = 0; l < W; l++) of_b[f][l] = from[l < count ? l : count - 1];                     \
                }                                                                                                      \
                const float *g_at = g + i * g_row + start * g_column, *kept_at = kept + i * kept_row + start;          \
                if (count == W && g_column == 1) LANES given[l] = g_at[l];                                             \
                else for (int l = 0; l < W; l++) given[l] = l < count ? g_at[l * g_column] : 0.0;                      \
                if (count == W) LANES s[l] = kept_at[l];                                                               \
                else for (int l = 0; l < W; l++) s[l] = l < count ? kept_at[l] : 1.0;                                  \
                _Pragma("omp simd reduction(+ : low)") for (int l = 0; l < W; l++) low += s[l] < soft;                 \
                if (low)                                                                                               \
                    for (int l = 0; l < count; l++) {                                                                  \
                        if (!(s[l] < soft)) continue;                                                                  \
                        if (s[l] >= 0.0) {                                                                             \
                            Point a = {x + i * d, of_x, n_x, i}, b = {y + (start + l) * d, of_y, n_y, start + l};      \
                            single_pair(a, b, d, chart, c, given[l], single_x + i * d, single_y + (start + l) * d);    \
                        }                                                                                              \
                        given[l] = 0.0;                                                                                \
                        s[l] = 1.0;                                                                                    \
                    }                                                                                                  \
                _Pragma("omp simd reduction(+ : along, inward)") for (int l = 0; l < W; l++) {                         \
                    double apart = sinh_a * of_b[1][l] - cosh_a * of_b[0][l], sb = of_b[2][l], cb = of_b[3][l];        \
                    double root = root_of(q_of(s[l], apart, sa, sb));                                                  \
                    Slopes slope = slopes_of(given[l], root, s[l], apart, sa, ca, sb, cb);                             \
                    double cosine = 1.0 - 2.0 * s[l];                                                                  \
                    along += slope.by_a;                                                                               \
                    inward += slope.across * sb * cosine;                                                              \
                    by_b[l] = slope.by_b;                                                                              \
                    in_b[l] = slope.across * sa * cosine;                                                              \
                    weight[l] = slope.across * above_a * (sb > 1.0 ? sb : 1.0);                                        \
                }                                                                                                      \
                REAL *weights_at = weights + i * weights_row + start;                                                  \
                double *along_at = sums_y + ALONG * n_y + start, *inward_at = sums_y + INWARD * n_y + start;           \
                for (int l = 0; l < count; l++) {                                                                      \
                    weights_at[l] = (REAL)weight[l];                                                                   \
                    along_at[l] += by_b[l];                                                                            \
                    inward_at[l] += in_b[l];                                                                           \
                }                                                                                                      \
            }                                                                                                          \
            sums_x[ALONG * n_x + i] += along;                                                                          \
            sums_x[INWARD * n_x + i] += inward;                                                                        \
        }                                                                                                              \
    }
WEIGHTS(geomdml_weights, double)
WEIGHTS(geomdml_weights_single, float)

/* The gradient by n points from the products of the weights and the scaled unit vectors of the other side. */
#define GRADIENT(NAME, REAL)                                                                                           \
    FOR_EACH_CPU void NAME(const float *x, const double *of_x, int64_t n, int64_t d, double c, const REAL *turn,       \
                           double scale, const double *sums, const double *single, float *out) {                       \
        double inverse_root = 1.0 / sqrt(c);                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            double length = of_x[LENGTH * n + i], sinh = of_x[SINH * n + i], stretch = of_x[STRETCH * n + i];          \
            double inverse = length > 0.0 ? 1.0 / length : 0.0;                                                        \
            double lever = of_x[LEVER * n + i] * inverse_root / 2.0;                                                   \
            double along = sums[ALONG * n + i] * stretch * inverse_root + lever * sums[INWARD * n + i];                \
            double across = lever * scale / (sinh > 1.0 ? sinh : 1.0), radial = along * inverse;                       \
            const float *row = x + i * d;                                                                              \
            const REAL *turn_row = turn + i * d;                                                                       \
            float *out_row = out + i * d;                                                                              \
            if (single) {                                                                                              \
                const double *single_row = single + i * d;                                                             \
                _Pragma("omp simd") for (int64_t k = 0; k < d; k++) out_row[k] =                                       \
                    (float)(radial * row[k] - across * turn_row[k] + single_row[k]);                                   \
            } else {                                                                                                   \
                _Pragma("omp simd") for (int64_t k = 0; k < d; k++) out_row[k] =                                       \
                    (float)(radial * row[k] - across * turn_row[k]);                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }
GRADIENT(geomdml_gradient, double)
GRADIENT(geomdml_gradient_single, float)

/* Few pairs in one call each way, products of matrices included: for them calls cost more than arithmetic. */

/* The distances, and s where `kept` is not NULL. The number of HARD pairs; −1 if a point is not ordinary, −2 if there is
   no memory. */
FOR_EACH_CPU int64_t geomdml_small(const float *x, int64_t n_x, const float *y, int64_t n_y, int64_t d, int64_t chart,
                                   double c, float *out, float *kept) {
    double *room = malloc(sizeof(double) * ((FACTS + d) * (n_x + n_y) + n_x * n_y)), *next = room;
    if (!room) return -2;
    double *of_x = next, *of_y = next += FACTS * n_x, *u = next += FACTS * n_y, *v = next += n_x * d,
           *cosine = next += n_y * d;
    int64_t hard = -1;
    if (geomdml_points(x, n_x, d, chart, c, of_x, u, NULL, NULL) &&
        geomdml_points(y, n_y, d, chart, c, of_y, v, NULL, NULL)) {
        for (int64_t i = 0; i < n_x; i++)
            for (int64_t j = 0; j < n_y; j++) {
                double sum = 0.0;
                const double *row = u + i * d, *other = v + j * d;
                _Pragma("omp simd reduction(+ : sum)") for (int64_t k = 0; k < d; k++) sum += row[k] * other[k];
                cosine[i * n_y + j] = sum;
            }
        hard = geomdml_tile(x, of_x, n_x, y, of_y, n_y, d, chart, c, 0, n_x, cosine, n_y, out, n_y, kept, n_y);
    }
    free(room);
    return hard;
}

/* The gradient by x and y. The number of HARD pairs, which are left out, or −2. */
FOR_EACH_CPU int64_t geomdml_small_gradient(const float *x, int64_t n_x, const float *y, int64_t n_y, int64_t d,
                                            int64_t chart, double c, const float *g, int64_t g_row, int64_t g_column,
                                            const float *kept, float *by_x, float *by_y) {
    int64_t points = n_x + n_y, pairs = n_x * n_y, counts[2];
    double *room = calloc((FACTS + SUMS + 3 * d) * points + pairs, sizeof(double)), *next = room;
    if (!room) return -2;
    double *of_x = next, *of_y = next += FACTS * n_x, *sums_x = next += FACTS * n_y, *sums_y = next += SUMS * n_x,
           *u = next += SUMS * n_y, *v = next += n_x * d, *turn_x = next += n_y * d, *turn_y = next += n_x * d,
           *single_x = next += n_y * d, *single_y = next += n_x * d, *weights = next += n_y * d;
    geomdml_count(kept, pairs, NEAR_PRODUCT, counts);
    geomdml_points(x, n_x, d, chart, c, of_x, NULL, u, NULL);
    geomdml_points(y, n_y, d, chart, c, of_y, NULL, v, NULL);
    geomdml_weights(x, of_x, n_x, y, of_y, n_y, d, chart, c, 0, n_x, g, g_row, g_column, kept, n_y, NEAR_PRODUCT, 1.0,
                    weights, n_y, sums_x, sums_y, single_x, single_y);
    for (int64_t i = 0; i < n_x; i++)
        for (int64_t j = 0; j < n_y; j++) {
            double weight = weights[i * n_y + j];
            double *to_x = turn_x + i * d, *to_y = turn_y + j * d;
            const double *from_x = u + i * d, *from_y = v + j * d;
            _Pragma("omp simd") for (int64_t k = 0; k < d; k++) {
                to_x[k] += weight * from_y[k];
                to_y[k] += weight * from_x[k];
            }
        }
    geomdml_gradient(x, of_x, n_x, d, c, turn_x, 1.0, sums_x, single_x, by_x);
    geomdml_gradient(y, of_y, n_y, d, c, turn_y, 1.0, sums_y, single_y, by_y);
    free(room);
    return counts[1];
}
