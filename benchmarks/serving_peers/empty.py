"""What Starlette and uvicorn alone can do on this machine: an answer with nothing in it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def predict(request: Request) -> Response:
    """Answer, and do nothing else."""
    return Response()


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
