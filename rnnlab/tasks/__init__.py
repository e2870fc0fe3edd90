"""Tasks: one generator or reader of sequences per file. Independent of models."""

from rnnlab.tasks.adding import Adding as Adding
from rnnlab.tasks.beat_anomalies import BeatAnomalies as BeatAnomalies
from rnnlab.tasks.card_fraud import CardFraud as CardFraud
from rnnlab.tasks.chorales import Chorales as Chorales
from rnnlab.tasks.copying import CopyMemory as CopyMemory
from rnnlab.tasks.copying import SelectiveCopying as SelectiveCopying
from rnnlab.tasks.digits import Digits as Digits
from rnnlab.tasks.entities import Entities as Entities
from rnnlab.tasks.forecasting import Forecasting as Forecasting
from rnnlab.tasks.formal import FormalLanguage as FormalLanguage
from rnnlab.tasks.irregular_records import IrregularRecords as IrregularRecords
from rnnlab.tasks.listops import ListOps as ListOps
from rnnlab.tasks.many_series import ManySeries as ManySeries
from rnnlab.tasks.mqar import MQAR as MQAR
from rnnlab.tasks.pronunciation import Pronunciation as Pronunciation
from rnnlab.tasks.rare_beats import RareBeats as RareBeats
from rnnlab.tasks.sequences import Sequences as Sequences
from rnnlab.tasks.sessions import Sessions as Sessions
from rnnlab.tasks.sketches import Sketches as Sketches
from rnnlab.tasks.speech import Speech as Speech
from rnnlab.tasks.spoken_digits import SpokenDigits as SpokenDigits
from rnnlab.tasks.text import Text as Text
from rnnlab.tasks.tokens import Tokens as Tokens
from rnnlab.tasks.translation import Translation as Translation
from rnnlab.tasks.turbofan import Turbofan as Turbofan

TASKS = {
    task.__name__: task
    for task in (
        Adding,
        BeatAnomalies,
        CardFraud,
        Chorales,
        CopyMemory,
        Digits,
        Entities,
        Forecasting,
        FormalLanguage,
        IrregularRecords,
        ListOps,
        MQAR,
        ManySeries,
        Pronunciation,
        RareBeats,
        SelectiveCopying,
        Sequences,
        Sessions,
        Sketches,
        Speech,
        SpokenDigits,
        Text,
        Tokens,
        Translation,
        Turbofan,
    )
}
"""Tasks by name."""
