"""The conformance suite: what every backend has to do, as tests that any backend can run.

    pytest --pyargs sightline.testing --backend sdpa --backend my_package.masks:BACKEND

A backend is a name of ``sightline.testing.backends`` or ``module:attribute``, a
``sightline.testing.backend.Backend``. Without ``--backend`` the backends of Sightline itself are
tested, as far as their packages are installed.
"""
