"""What `tests.strategies` holds for circuits, under its old name."""

from tests.strategies import ALL_FAMILIES as ALL_FAMILIES
from tests.strategies import circuits as circuits
from tests.strategies import dense_circuit as dense_circuit
from tests.strategies import haar_unitary as haar_unitary
from tests.strategies import random_product as random_product
from tests.strategies import tolerance as tolerance
