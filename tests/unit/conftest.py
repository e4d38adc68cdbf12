import pytest
import xtrain_fake


@pytest.fixture(autouse=True)
def _no_fault_is_left():
    xtrain_fake.reset()
    yield
    xtrain_fake.reset()
