"""MLServer: a custom runtime, images in base64 by its own codec."""

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Malaria(MLModel):
    """The calls MLServer makes."""

    async def load(self) -> bool:
        """Load the model, in each worker."""
        from network import Network

        self.network = Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The images of one request to their labels."""
        images = self.decode(payload.inputs[0], default_codec=Base64Codec)
        labels = [self.network.classify(image)["classification"] for image in images]
        output = StringCodec.encode_output("classification", labels)
        return InferenceResponse(model_name=self.name, outputs=[output])
