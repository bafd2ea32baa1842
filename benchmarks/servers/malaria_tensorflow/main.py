"""Google's advice for functions: TensorFlow imported with the module, the model in a lazy global."""

from pathlib import Path

import functions_framework
from stopwatch import part

with part("imports"):
    import keras

    from shared.runtimes.pixels import decode

MODEL = Path(__file__).resolve().parents[3] / "models" / "malaria" / "malaria.keras"
model = None


@functions_framework.http
def classify(request):
    """Load the model with the first request, and keep it."""
    global model  # noqa: PLW0603 (as the advice has it)
    if model is None:
        with part("load"):
            model = keras.models.load_model(MODEL, compile=False)
    with part("first prediction"):
        pixels = decode(request.files["malaria_cell_image"].read(), (100, 100))
        # Of few inputs Keras asks to be called so, not by `predict`, which takes many times longer.
        scores, *_ = model(pixels[None].astype("float32") / 255, training=False)
        probability = float(scores[0, 0])
    label = "Infected" if probability >= 0.5 else "Normal"
    return {"error": "0", "message": "Successful", "classification": label}
