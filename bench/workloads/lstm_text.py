"""The recurrent classifier of Keras's own IMDB example, one direction: the last state tells the sentiment."""

from bench.layers import GRU, LSTM, Dense, Embedding
from bench.workload import SGD, Adam, Proof, Workload

WORKLOAD = Workload(
    name="lstm_text",
    description="embedding 128, LSTM 128, LSTM 128, 200 tokens of 20,000, 2 classes, Adam",
    input=(200,),
    classes=2,
    layers=(Embedding(20_000, 128), LSTM(128, sequences=True), LSTM(128), Dense(2)),
    optimiser=Adam(rate=1e-3),
    vocabulary=20_000,
    proof=Proof(batch=4, steps=5),
    epoch=25_000,
)
TINY = Workload(
    name="lstm_text_tiny",
    description="embedding 16, GRU 16, LSTM 16, 16 tokens of 500, 2 classes, SGD with momentum",
    input=(16,),
    classes=2,
    layers=(Embedding(500, 16), GRU(16, sequences=True), LSTM(16), Dense(2)),
    optimiser=SGD(rate=0.1, momentum=0.9),
    vocabulary=500,
    proof=Proof(batch=16, steps=20),
)
