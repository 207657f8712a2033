/* Transport: the simplex of geomdml/transport/simplex.py, the same pivots, potentials of assignments, and sweeps of the
 * plain Sinkhorn iteration. Plain C; Python calls it through ctypes.
 *
 * A basis is a tree of N = n + m nodes, rows before columns, whose root is the last row. Every other node owns the arc
 * to its parent, and that arc's mass. Children are doubly linked lists, so that a subtree can be cut and turned around.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define NONE (-1)

typedef struct {
    int64_t n, m;
    const double *cost; /* (n, m); infinite where a row or a column has no weight */
    int64_t *parent, *depth, *child, *next, *previous;
    int64_t *mass;
    double *potential;
} Tree;

/* The cost of a node's arc; that of an arc without weight does not matter. */
static double arc_cost(const Tree *t, int64_t node) {
    int64_t row = node < t->n ? node : t->parent[node], column = node < t->n ? t->parent[node] : node;
    double cost = t->cost[row * t->m + column - t->n];
    return isinf(cost) ? 0.0 : cost;
}

static void attach(Tree *t, int64_t node, int64_t parent) {
    int64_t first = t->child[parent];
    t->parent[node] = parent;
    t->previous[node] = NONE;
    t->next[node] = first;
    if (first != NONE)
        t->previous[first] = node;
    t->child[parent] = node;
}

static void detach(Tree *t, int64_t node) {
    int64_t before = t->previous[node], after = t->next[node];
    if (before != NONE)
        t->next[before] = after;
    else
        t->child[t->parent[node]] = after;
    if (after != NONE)
        t->previous[after] = before;
}

/* The node after this one on a walk through the subtree of `top`, parents first; NONE at its end. */
static int64_t walk(const Tree *t, int64_t node, int64_t top) {
    if (t->child[node] != NONE)
        return t->child[node];
    while (node != top && t->next[node] == NONE)
        node = t->parent[node];
    return node == top ? NONE : t->next[node];
}

/* Each row in turn to the columns that are left, first where the cost is least above the column's minimum. */
static void begin(Tree *t, const int64_t *a, const int64_t *b, int64_t *left, double *least, char *closed) {
    int64_t n = t->n, m = t->m, row = 0;
    for (int64_t j = 0; j < m; j++) {
        left[j] = b[j];
        closed[j] = 0;
        least[j] = INFINITY;
        for (int64_t i = 0; i < n; i++)
            if (t->cost[i * m + j] < least[j])
                least[j] = t->cost[i * m + j];
    }
    for (int64_t node = 0; node < n + m; node++)
        t->child[node] = NONE;
    int64_t rest = a[0];
    for (int64_t arc = 0; arc < n + m - 1; arc++) {
        int64_t column = NONE;
        double best = INFINITY;
        for (int64_t j = 0; j < m; j++) {
            double above = t->cost[row * m + j] - least[j];
            if (!closed[j] && (column == NONE || above < best)) {
                column = j;
                best = above < INFINITY ? above : INFINITY; /* ∞ − ∞ is none */
            }
        }
        int done = rest <= left[column] && row < n - 1; /* the row is the farther end, for its column goes on */
        int64_t mass = done ? rest : left[column], child = done ? row : n + column;
        t->parent[child] = done ? n + column : row;
        t->mass[child] = mass;
        left[column] -= mass;
        rest -= mass;
        closed[column] = !done;
        if (done)
            rest = a[++row];
    }
    for (int64_t node = 0; node < n + m; node++)
        if (node != n - 1)
            attach(t, node, t->parent[node]);
    t->parent[n - 1] = NONE;
    t->mass[n - 1] = 0;
}

/* Depths and potentials from the costs, without what rounding has added up in them. */
static void refresh(Tree *t) {
    int64_t root = t->n - 1;
    t->depth[root] = 0;
    t->potential[root] = 0;
    for (int64_t node = walk(t, root, root); node != NONE; node = walk(t, node, root)) {
        t->depth[node] = t->depth[t->parent[node]] + 1;
        t->potential[node] = arc_cost(t, node) - t->potential[t->parent[node]];
    }
}

/* The arc from `row` to `column`, of reduced cost `change` < 0, enters. */
static void pivot(Tree *t, int64_t row, int64_t column, double change) {
    int64_t out = NONE, mass = INT64_MAX, from_row = 0, u = row, v = column;
    while (u != v) { /* mass moves from the row's arcs to those of the other kind, all around the cycle */
        int by_row = t->depth[u] >= t->depth[v];
        int64_t node = by_row ? u : v;
        if (by_row == (node < t->n) && t->mass[node] < mass) {
            out = node;
            mass = t->mass[node];
            from_row = by_row;
        }
        *(by_row ? &u : &v) = t->parent[node];
    }
    int64_t join = u;
    for (int side = 0; side < 2; side++)
        for (u = side ? row : column; u != join; u = t->parent[u])
            t->mass[u] += side == (u < t->n) ? -mass : mass;

    int64_t top = from_row ? row : column, above = from_row ? column : row, carried = mass, last;
    u = top;
    do { /* turn the path from the entering arc down to the leaving one around */
        int64_t up = t->parent[u], own = t->mass[u];
        last = u;
        detach(t, u);
        attach(t, u, above);
        t->mass[u] = carried;
        carried = own;
        above = u;
        u = up;
    } while (last != out);
    double shift = from_row ? change : -change;
    for (u = top; u != NONE; u = walk(t, u, top)) {
        t->depth[u] = t->depth[t->parent[u]] + 1;
        t->potential[u] += u < t->n ? shift : -shift;
    }
}

/* The first j with the least cost_j − g_j; NONE where all are infinite. */
static int64_t cheapest(const double *cost, const double *g, int64_t m) {
    double least = INFINITY, lane[8];
    int64_t whole = m - m % 8;
    for (int k = 0; k < 8; k++)
        lane[k] = INFINITY;
    for (int64_t j = 0; j < whole; j += 8)
        for (int k = 0; k < 8; k++) {
            double price = cost[j + k] - g[j + k];
            lane[k] = price < lane[k] ? price : lane[k];
        }
    for (int64_t j = whole; j < m; j++)
        lane[0] = cost[j] - g[j] < lane[0] ? cost[j] - g[j] : lane[0];
    for (int k = 0; k < 8; k++)
        least = lane[k] < least ? lane[k] : least;
    for (int64_t j = 0; least < INFINITY && j < m; j++)
        if (cost[j] - g[j] == least)
            return j;
    return NONE;
}

/* Pivots until no reduced cost is below −tolerance; how many. `column` and `price` are room for n each. */
static int64_t improve(Tree *t, double tolerance, int64_t *column, double *price) {
    int64_t n = t->n, m = t->m, pivots = 0;
    double *f = t->potential, *g = t->potential + n;
    for (int fresh = 0, going = 0; going || !fresh;) {
        fresh = !going;
        if (fresh)
            refresh(t);
        for (int64_t i = 0; i < n; i++) { /* the best column of each row is good for some pivots */
            int64_t j = cheapest(t->cost + i * m, g, m);
            column[i] = j == NONE ? 0 : j;
            price[i] = j == NONE ? INFINITY : t->cost[i * m + j];
        }
        for (going = 0;; going = 1, fresh = 0, pivots++) {
            int64_t best = NONE;
            double change = -tolerance;
            for (int64_t i = 0; i < n; i++) {
                double reduced = price[i] - f[i] - g[column[i]];
                if (reduced < change) {
                    change = reduced;
                    best = i;
                }
            }
            if (best == NONE)
                break;
            pivot(t, best, n + column[best], change);
        }
    }
    return pivots;
}

/* `problems` of n × m. Out: each node's parent (NONE for the root) and the mass of the arc to it, potentials (n + m) of
 * costs, and pivots. 0, or 1 where memory is short. */
int64_t geomdml_transport_simplex(int64_t problems, int64_t n, int64_t m, const double *cost, const int64_t *a, const int64_t *b,
                      const double *tolerance, int64_t *parent, int64_t *mass, double *potential, int64_t *pivots) {
    int64_t nodes = n + m;
    int64_t *links = malloc((size_t)(4 * nodes + n + m) * sizeof *links);
    double *room = malloc((size_t)(n + m) * sizeof *room);
    char *closed = malloc((size_t)m);
    int failed = !links || !room || !closed;
    for (int64_t k = 0; !failed && k < problems; k++) {
        Tree t = {n, m, cost + k * n * m, parent + k * nodes, links, links + nodes, links + 2 * nodes,
                  links + 3 * nodes, mass + k * nodes, potential + k * nodes};
        begin(&t, a + k * n, b + k * m, links + 4 * nodes + n, room, closed);
        pivots[k] = improve(&t, tolerance[k], links + 4 * nodes, room);
    }
    free(links);
    free(room);
    free(closed);
    return failed;
}

/* The g of assignments: g_j is a shortest path by g_σ(i) + C_ij − C_iσ(i), σ(i) the row's partner. A row is looked at
 * again where its partner's g has fallen. 0, or 1 where memory is short. */
int64_t geomdml_assignment_potentials(int64_t problems, int64_t n, const double *cost, const int64_t *partner,
                                      double *g) {
    double *seen = malloc((size_t)n * sizeof *seen);
    for (int64_t k = 0; seen && k < problems; k++, partner += n, g += n, cost += n * n) {
        int64_t looked = n;
        for (int64_t j = 0; j < n; j++) {
            g[j] = 0;
            seen[j] = INFINITY;
        }
        for (int64_t round = 0; looked && round < n; round++) {
            looked = 0;
            for (int64_t i = 0; i < n; i++) {
                const double *row = cost + i * n;
                double start = g[partner[i]], own = row[partner[i]];
                if (!(start < seen[i]))
                    continue;
                seen[i] = start;
                looked++;
                for (int64_t j = 0; j < n; j++) {
                    double length = start + (row[j] - own);
                    g[j] = length < g[j] ? length : g[j];
                }
            }
        }
    }
    free(seen);
    return !seen;
}

/* Sweeps of Sinkhorn's iteration with a kernel K (n, m): x = a/s, y = b/(Kᵀx), s = Ky, from the s that is given. The
 * sums are in one order, wherever the memory begins. */
#define SINKHORN_SWEEPS(NAME, REAL)                                                                                    \
    void NAME(const REAL *K, const REAL *a, const REAL *b, REAL *x, REAL *y, REAL *s, int64_t n, int64_t m,            \
              int64_t sweeps) {                                                                                        \
        for (int64_t sweep = 0; sweep < sweeps; sweep++) {                                                             \
            for (int64_t j = 0; j < m; j++)                                                                            \
                y[j] = 0;                                                                                              \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                REAL scale = x[i] = a[i] / s[i];                                                                       \
                for (int64_t j = 0; j < m; j++)                                                                        \
                    y[j] += scale * K[i * m + j];                                                                      \
            }                                                                                                          \
            for (int64_t j = 0; j < m; j++)                                                                            \
                y[j] = b[j] / y[j];                                                                                    \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                REAL sums[8] = {0}, rest = 0;                                                                          \
                int64_t j = 0;                                                                                         \
                for (; j + 8 <= m; j += 8)                                                                             \
                    for (int64_t lane = 0; lane < 8; lane++)                                                           \
                        sums[lane] += K[i * m + j + lane] * y[j + lane];                                               \
                for (; j < m; j++)                                                                                     \
                    rest += K[i * m + j] * y[j];                                                                       \
                for (int64_t lane = 0; lane < 8; lane++)                                                               \
                    rest += sums[lane];                                                                                \
                s[i] = rest;                                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }

SINKHORN_SWEEPS(geomdml_sinkhorn_sweeps, double)
SINKHORN_SWEEPS(geomdml_sinkhorn_sweeps_float, float)
