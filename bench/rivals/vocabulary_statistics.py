"""Statistics over the vocabulary in PyTorch, for window_statistics.py: a block of rows at a time,
so that no [T, V] array of each layer is kept. Reductions are compiled: each reads its logits once
or twice instead of once per operation."""

import torch

ROWS = 64  # of a block: 13 MB of logits
BINS = torch.tensor([1, 10, 100, 1000])


@torch.compile
def own_figures(z, following):
    """z [R, V], following [R]: log Z, and logit and rank of the next token."""
    logit = z.gather(-1, following[:, None])
    return z.logsumexp(-1), logit[:, 0], (z > logit).sum(-1) + 1


def loss(w):
    """-log p of the next token."""
    x, found = w.normalized(w.run()), []
    for rows, ids in zip(x.split(ROWS), w.following().split(ROWS)):
        log_z, logit, _ = own_figures(w.unembed(rows), ids)
        found.append(log_z - logit)
    return {"loss": torch.cat(found)[:-1].mean()}


def residuals(w):
    """[L + 1, T, N]: the residual in front of each layer, and the last."""
    found = []
    last = w.run(hook_resid_pre=lambda _, x: found.append(x))
    return torch.stack([*found, last])


# --- lens -----------------------------------------------------------------------------------------


@torch.compile
def lens_figures(z, final, following):
    """z, final [R, V], following [R]: entropy, KL(f || p), KL(p || f), log p and rank of the next
    token."""
    log_p, log_f = z.log_softmax(-1), final.log_softmax(-1)
    p, f = log_p.exp(), log_f.exp()
    own = log_p.gather(-1, following[:, None])
    rank = (log_p > own).sum(-1) + 1
    return (
        -(p * log_p).sum(-1),
        (f * (log_f - log_p)).sum(-1),
        (p * (log_p - log_f)).sum(-1),
        own[:, 0],
        rank,
    )


def lens(w):
    """The plugin's means over rows: [L + 1]."""
    sites, n = w.normalized(residuals(w)), len(w.ids)
    following = w.following()
    found = torch.empty(6, len(sites), n)
    for rows in torch.arange(n).split(ROWS):
        final = w.unembed(sites[-1, rows])
        best = final.argmax(-1)
        for site, x in enumerate(sites):
            z = final if site + 1 == len(sites) else w.unembed(x[rows])
            for figure, value in enumerate(lens_figures(z, final, following[rows])):
                found[figure, site, rows] = value.float()
            found[5, site, rows] = (z.argmax(-1) == best).float()
    bins = torch.bucketize(found[4, :, :-1], BINS)
    return {
        "mean_entropy": found[0].mean(-1),
        "mean_kl": found[1].mean(-1),
        "mean_kl_reverse": found[2].mean(-1),
        "mean_log_prob": found[3, :, :-1].mean(-1),
        "top_agreement": found[5].mean(-1),
        "rank_bins": torch.stack([(bins == b).float().mean(-1) for b in range(5)], -1),
    }


def top_tokens(w):
    """The five likeliest tokens of every layer and row with their p; log p and rank of the next."""
    sites, n = w.normalized(residuals(w)), len(w.ids)
    following = w.following()
    ids, probs = torch.empty(len(sites), n, 5, dtype=torch.long), torch.empty(len(sites), n, 5)
    own, rank = torch.empty(2, len(sites), n)
    for site, x in enumerate(sites):
        for rows in torch.arange(n).split(ROWS):
            z = w.unembed(x[rows])
            log_z, logit, place = own_figures(z, following[rows])
            values, ids[site, rows] = z.topk(5)
            probs[site, rows] = (values - log_z[:, None]).exp()
            own[site, rows], rank[site, rows] = logit - log_z, place.float()
    return {"top_ids": ids, "top_probs": probs, "log_prob": own[:, :-1], "rank": rank[:, :-1]}


# --- sampling -------------------------------------------------------------------------------------

TEMPERATURE, TOP_K, TOP_P, MIN_P = 0.7, 40, 0.9, 0.05
COLD = (1, 5)  # the strategies at TEMPERATURE
BISECTIONS = 32


def sampling(w):
    """greedy, temperature, top-k, top-p, min-p, all together: [6] and [6, 6], means over rows."""
    x = w.normalized(w.run())
    found = []
    for rows in x.split(ROWS):
        z = w.unembed(rows)
        found.append(kept_figures(z, least_kept(z)))
    names = ("size", "mass", "kl", "overlap", "agreement")
    figures = dict(zip(names, (torch.cat(parts) for parts in zip(*found))))
    size = figures["size"]
    figures["same_set"] = (size[:, :, None] == size[:, None]).float()  # all sets are beginnings
    return {name: values.mean(0) for name, values in figures.items()}


@torch.compile
def mass_above(z, p, bound):
    return torch.where(z >= bound, p, 0.0).sum(-1, keepdim=True)


def nucleus(z):
    """The greatest logit [R, 1] such that those from it on have the mass TOP_P, by bisection."""
    low, high = torch.aminmax(z, dim=-1, keepdim=True)
    p = z.softmax(-1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = mass_above(z, p, middle) >= TOP_P
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low


def least_kept(z):
    """The smallest logit that each strategy keeps, [R, 6]. No row is sorted as a whole."""
    best = z.topk(TOP_K).values
    top, last = best[:, :1], best[:, -1:]
    q = (best / TEMPERATURE).softmax(-1)
    inside = (q.cumsum(-1) - q < TOP_P) & (q >= MIN_P * q[:, :1])
    together = best.gather(-1, inside.sum(-1, keepdim=True) - 1)
    everything = torch.full_like(top, -torch.inf)
    min_p = top + torch.tensor(MIN_P).log()
    return torch.cat([top, everything, last, nucleus(z), min_p, together], -1)


@torch.compile
def kept_figures(z, least):
    """Sizes, masses, KL(q || p) [R, 6]; overlaps and agreements [R, 6, 6]."""
    off = z - z.max(-1, keepdim=True).values
    p, cold = off.exp(), (off / TEMPERATURE).exp()
    inside = [z >= least[:, i : i + 1] for i in range(6)]
    weights = [torch.where(inside[i], cold if i in COLD else p, 0.0) for i in range(6)]
    sums = [weight.sum(-1) for weight in weights]
    q = [weight / total[:, None] for weight, total in zip(weights, sums)]
    whole = p.sum(-1)
    kl = []
    for i in range(6):
        heat = 1 / TEMPERATURE - 1 if i in COLD else 0.0
        kl.append((q[i] * off).sum(-1) * heat - sums[i].log() + whole.log())
    size = torch.stack([x.sum(-1) for x in inside], -1)
    mass = torch.stack([torch.where(x, p, 0.0).sum(-1) / whole for x in inside], -1)
    shared = {(i, j): torch.minimum(q[i], q[j]).sum(-1) for i in range(6) for j in range(i, 6)}
    equal = {(i, j): (q[i] * q[j]).sum(-1) for i in range(6) for j in range(i, 6)}
    tables = [
        torch.stack([of[min(i, j), max(i, j)] for i in range(6) for j in range(6)], -1)
        for of in (shared, equal)
    ]
    return size.float(), mass, torch.stack(kl, -1), *(t.view(-1, 6, 6) for t in tables)


# --- partition ------------------------------------------------------------------------------------


@torch.compile
def change(z, p, log_z, constant, dz):
    """A change dz of logits z, all [R, V]: dlogZ, mean dz, E_p dz, Var_p(dz)/2, and the fit dz =
    alpha + beta (z - b)."""
    after = (z + dz).logsumexp(-1) - log_z
    mean, expected = dz.mean(-1), (p * dz).sum(-1)
    half = (p * (dz - expected[:, None]).square()).sum(-1) / 2
    q = z - constant
    q_mean = q.mean(-1)
    off, centered = q - q_mean[:, None], dz - mean[:, None]
    cross, square = (off * centered).sum(-1), off.square().sum(-1)
    beta = cross / square
    r2 = cross.square() / (square * centered.square().sum(-1))
    return torch.stack([after, mean, expected, half, mean - beta * q_mean, beta, r2])


def writes_of(w, layer):
    """The writes [T, N] in their order and the residual in front of each layer and the last. layer:
    the heads of that layer only, without residuals."""
    writes, before = [], []

    def pre(at, x):
        before.append(x)
        if at == 0:
            writes.append(x)

    def heads(at, z):
        if at == layer:
            weight = w.base.layers[at].attention.dense.weight.float().view(w.d_model, w.heads, -1)
            writes.extend(torch.einsum("thd,nhd->htn", z.view(len(z), w.heads, -1), weight))

    if layer is not None:
        return writes, [], w.run(**{"attn.hook_z": heads})
    last = w.run(
        hook_resid_pre=pre,
        hook_attn_out=lambda _, x: writes.append(x),
        hook_mlp_out=lambda _, x: writes.append(x),
    )
    return writes, [*before, last], last


class Changes:
    """One block of rows: every write is unembedded once, and lenses add up the writes below."""

    def __init__(self, w, final):
        self.w, self.x, self.sigma = w, final, w.sigma(final)
        self.z = w.unembed(w.normalized(final))
        self.p, self.log_z = self.z.softmax(-1), self.z.logsumexp(-1)
        self.found = {"step": [], "lens": [], "frozen_ln": [], "recomputed_ln": []}
        self.log_zs = []

    def changed(self, kind, z):
        self.found[kind].append(change(self.z, self.p, self.log_z, self.w.constant, z - self.z))

    def without(self, c):
        """Without the write c; returns u . c of all tokens."""
        w = self.w
        px, pc = (v - v.mean(-1, keepdim=True) for v in (self.x, c))
        scale = ((px - pc).square().mean(-1, keepdim=True) + w.eps).sqrt()
        y = w.unembed(pc * w.gamma)
        held = self.z - y / self.sigma
        self.changed("frozen_ln", held)
        self.changed("recomputed_ln", (held - w.constant) * (self.sigma / scale) + w.constant)
        return y

    def lens(self, z, before):
        """before: (z, p, log Z) of the lens before, or None; returns those of this one."""
        state = (z, z.softmax(-1), z.logsumexp(-1))
        self.log_zs.append(state[2])
        if before:
            self.found["step"].append(change(*before, self.w.constant, z - before[0]))
        if z is not self.z:
            self.changed("lens", z)
        return state


def block_of(w, writes, residuals, final):
    """One block's log Z [lenses, R] and figures [perturbations, 7, R]."""
    of = Changes(w, final)
    total = before = None
    for i, c in enumerate(writes):
        y = of.without(c)
        if not residuals:
            continue
        total = y if total is None else total.add_(y)
        if i % 2 == 0:  # embed, or the last write of a layer
            x = residuals[i // 2]
            z = of.z if i + 1 == len(writes) else total / w.sigma(x) + w.constant
            before = of.lens(z, before)
    log_z = of.log_zs or [of.log_z]
    return torch.stack(log_z), torch.stack([f for kind in of.found.values() for f in kind])


def partition(w, layer):
    """Means over rows: log Z of each lens, and of each change dlogZ in three gauges, Var_p(dz)/2
    and the fit. layer: only the changes of leaving out each head of that layer."""
    writes, before, final = writes_of(w, layer)
    blocks = [
        block_of(w, [c[rows] for c in writes], [x[rows] for x in before], final[rows])
        for rows in torch.arange(len(final)).split(ROWS)
    ]
    log_z = torch.cat([b[0] for b in blocks], -1)
    after, mean, expected, half, alpha, beta, r2 = torch.cat([b[1] for b in blocks], -1).unbind(1)
    gauges = torch.stack([after, after - mean, after - expected])
    return {
        "mean_log_z": log_z.mean(-1),
        "sd_log_z": log_z.std(-1, correction=0),
        "mean_dlogz": gauges.mean(-1),
        "mean_abs_dlogz": gauges.abs().mean(-1),
        "mean_half_variance": half.mean(-1),
        "mean_fit_alpha": alpha.mean(-1),
        "mean_fit_beta": beta.mean(-1),
        "mean_fit_r2": r2.mean(-1),
    }
