"""How θ moves: gradient descent, alone or batched, the gradient flow, and the central flow of GD.

``iterate`` has what all share; ``descent`` is GD by what ``moves`` makes of gradients,
``integrator`` and ``flows`` the gradient flow; ``central`` is the central flow, ``edge`` what holds
it at the edge of stability, and ``complementarity`` the problem that this poses. ``flow_reference``
follows the flow beside GD, and ``schedule`` says when a trial measures.
"""
