// What Python hands over: the losses, each with a function (z, p) => [value, ∂/∂z₀, ∂/∂z₁, ∂/∂z₂],
// and the P to begin with.

export const LOSSES = __LOSSES__;
export const TARGET = __TARGET__;
