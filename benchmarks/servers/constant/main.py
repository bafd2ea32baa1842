"""The floor: what the platform's own framework takes to answer anything at all."""

import functions_framework


@functions_framework.http
def constant(request):
    """Read the body, and answer the same to everything."""
    request.get_data()
    return {"error": "0", "message": "Successful", "classification": "Infected"}
