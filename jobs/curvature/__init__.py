"""Exact curvature of the training loss: Hessian products, eigenvalues with residuals, and means.

``hessian`` has the operator, ``krylov`` the subspace in which ``eigenvalues`` finds both ends of
its spectrum, and ``spectrum`` more of it; ``sharpness`` measures along a trajectory, ``probes``
takes means over random vectors, ``further`` what a protocol asks for, and ``memory`` says how many
samples go through the network at once.
"""
