"""Calls that real clients of the V1 and V2 protocols make, in an environment of requirements.txt.

    python calls.py triton|kserve|mlserver REVIEW_URL MALARIA_URL IMAGE

Prints what the client gets for texts and for images, as JSON. Each has a process of its own: kserve and
mlserver cannot be imported together, as their protocol buffers have the same names.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TEXTS = ["A fine film, I loved it.", "Bad, I left after ten minutes."]


def triton(url, model, field, key, elements):
    """Binary tensors, as it sends them by default."""
    import tritonclient.http

    client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
    tensor = tritonclient.http.InferInput(field, [len(elements)], "BYTES")
    tensor.set_data_from_numpy(np.array(elements, dtype=np.object_))
    answer = client.infer(model, [tensor], request_id="t7")
    asked = [tritonclient.http.InferRequestedOutput("probabilities", binary_data=True)]
    again = client.infer(model, [tensor], outputs=asked)
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "server": client.get_server_metadata()["name"],
        "inputs": client.get_model_metadata(model)["inputs"],
        "id": answer.get_response()["id"],
        "labels": [each.decode() if isinstance(each, bytes) else each for each in answer.as_numpy(key)],
        "probabilities": answer.as_numpy("probabilities").tolist(),
        "again": again.as_numpy("probabilities").tolist(),
        "errors": [],
    }
    bad = tritonclient.http.InferInput(field, [1], "BYTES")
    bad.set_data_from_numpy(np.array([b""], dtype=np.object_))
    for name, inputs in ((model, [bad]), ("other", [tensor])):
        try:
            client.infer(name, inputs)
        except tritonclient.http.InferenceServerException as error:
            found["errors"].append(error.message())
    try:
        client.infer(model, [tensor], request_compression_algorithm="gzip")
    except tritonclient.http.InferenceServerException as error:
        found["errors"].append(error.message())
    if isinstance(elements[0], str):
        tensor.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=False)
        found["json"] = client.infer(model, [tensor]).as_numpy("probabilities").tolist()
    client.close()
    return found


def kserve(*arguments):
    """JSON, or binary tensors; and the V1 protocol."""
    return asyncio.run(_kserve(*arguments))


async def _kserve(url, model, field, key, elements):
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        tensor = InferInput(field, [len(elements)], "BYTES")
        tensor.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=True)
        answer = await client.infer(url, InferRequest(model, [tensor]), model_name=model)
        outputs = {output.name: output for output in answer.outputs}
        found = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, model),
            "labels": outputs[key].data,
            "probabilities": outputs["probabilities"].as_numpy().tolist(),
        }
        if isinstance(elements[0], str):
            tensor = InferInput(field, [len(elements)], "BYTES", data=elements)
            answer = await client.infer(url, InferRequest(model, [tensor]), model_name=model)
            outputs = {output.name: output for output in answer.outputs}
            found["json"] = outputs["probabilities"].as_numpy().tolist()
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        found["v1_live"] = await client.is_server_live(url)
        found["v1_ready"] = await client.is_model_ready(url, model)
        if isinstance(elements[0], str):
            answer = await client.infer(url, {"instances": elements}, model_name=model)
            found["v1"] = [one[key] for one in answer["predictions"]]
    return found


def mlserver(url, model, field, key, texts):
    """Its codec's request by any HTTP client, and its own command, which sends batches of a file."""
    import httpx
    from mlserver.codecs import StringCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    tensor = StringCodec.encode_input(field, texts, use_bytes=False)
    request = InferenceRequest(id="m7", inputs=[tensor])
    body = request.model_dump_json(exclude_none=True)
    answer = httpx.post(f"{url}/v2/models/{model}/infer", content=body)
    response = InferenceResponse.model_validate_json(answer.content)
    outputs = {output.name: output for output in response.outputs}
    found = {"id": response.id, "labels": StringCodec.decode_output(outputs[key]), "batch": []}
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        lines = [
            InferenceRequest(inputs=[StringCodec.encode_input(field, [text], use_bytes=False)])
            for text in texts
        ]
        given.write_text("\n".join(line.model_dump_json(exclude_none=True) for line in lines) + "\n")
        command = [
            Path(sys.executable).with_name("mlserver"),
            "infer",
            "-u",
            url.removeprefix("http://"),
            "-m",
            model,
        ]
        command += ["-i", given, "-o", taken, "-s", "2", "-w", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not taken.exists():
            raise SystemExit(done.stdout + done.stderr)
        for line in taken.read_text().splitlines():
            outputs = {output["name"]: output for output in json.loads(line)["outputs"]}
            found["batch"].append([outputs[key]["data"], outputs["probabilities"]["shape"]])
    return found


def main():
    name, review, malaria, image = sys.argv[1:]
    call = {"triton": triton, "kserve": kserve, "mlserver": mlserver}[name]
    found = [call(review, "review", "text", "review_sentiment", TEXTS)]
    if name != "mlserver":
        cell = Path(image).read_bytes()
        found.append(call(malaria, "malaria", "image", "classification", [cell, cell]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
