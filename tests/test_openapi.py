"""Each function's real process against its own OpenAPI document, with requests that schemathesis makes up."""

import pytest
import schemathesis
from conftest import FUNCTIONS, ROOT
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

BOUNDED = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# No schema can say that bytes are an image, or that a text is not blank.
UNSAYABLE = [positive_data_acceptance]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_request_gets_an_answer_that_is_not_documented(name, start):
    server = start(ROOT / "functions" / name / "main.py")
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    statuses = set()

    def probe(case):
        response = case.call(base_url=server.url)
        statuses.add(response.status_code)
        case.validate_response(response, excluded_checks=UNSAYABLE)

    operations = [found.ok() for found in document.get_all_operations()]
    for operation in operations:
        BOUNDED(given(case=operation.as_strategy())(probe))()
    assert len(operations) == 5  # all but the document itself
    assert {200, 422} <= statuses
