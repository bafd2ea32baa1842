"""The article's app: Flask, and the model loaded anew for every request."""

import cv2
import numpy as np
from flask import Flask, jsonify, request
from stopwatch import part

with part("imports"):
    from tensorflow.keras.models import load_model

app = Flask(__name__)


@app.route("/classify", methods=["POST"])
def classify():
    """Decode, load, predict."""
    data = np.frombuffer(request.files["malaria_cell_image"].read(), np.uint8)
    image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, (100, 100)).astype("float32") / 255
    with part("load"):
        model = load_model("../../../models/malaria/malaria.keras", compile=False)
    with part("first prediction"):
        probability = float(model.predict(image[None])[0][0, 0])
    label = "Infected" if probability >= 0.5 else "Normal"
    return jsonify({"error": "0", "message": "Successful", "classification": label})
