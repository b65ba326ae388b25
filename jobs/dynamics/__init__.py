"""How θ moves: gradient descent, alone or batched, and the integrators of the gradient flow.

``iterate`` has what all share; ``descent`` and ``batch`` are GD, ``integrator`` and ``flows`` the
flow; ``flow_reference`` follows the flow beside GD, and ``schedule`` says when a trial measures.
"""
